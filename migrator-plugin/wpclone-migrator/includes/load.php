<?php
/**
 * Loads every class that answering a request may need, folder by folder. A folder uses only folders above it in this
 * list; `export` and `import` do not use each other.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

// The protocol: requests, responses, frames, errors.
require_once __DIR__ . '/protocol/class-migrator-error.php';
require_once __DIR__ . '/protocol/class-json-object.php';
require_once __DIR__ . '/protocol/class-digest.php';
require_once __DIR__ . '/protocol/class-route-table.php';
require_once __DIR__ . '/protocol/class-frames.php';
require_once __DIR__ . '/protocol/class-request.php';
require_once __DIR__ . '/protocol/class-request-budget.php';
require_once __DIR__ . '/protocol/class-signature.php';
require_once __DIR__ . '/protocol/class-response.php';

// Access: the key, how long it is valid, and the check of requests.
require_once __DIR__ . '/access/class-state-store.php';
require_once __DIR__ . '/access/class-access-window.php';
require_once __DIR__ . '/access/class-request-authenticator.php';

// The site: its database, tables and files, as export and import see them.
require_once __DIR__ . '/site/class-database.php';
require_once __DIR__ . '/site/class-site-tables.php';
require_once __DIR__ . '/site/class-charset-mapper.php';
require_once __DIR__ . '/site/class-expression-sanitizer.php';
require_once __DIR__ . '/site/class-column-reader.php';
require_once __DIR__ . '/site/class-schema-reader.php';
require_once __DIR__ . '/site/class-create-statement.php';
require_once __DIR__ . '/site/class-row-reader.php';
require_once __DIR__ . '/site/class-site-roots.php';
require_once __DIR__ . '/site/class-file-index.php';

// Export: reading the site.
require_once __DIR__ . '/export/class-config-constants.php';
require_once __DIR__ . '/export/class-theme-folders.php';
require_once __DIR__ . '/export/class-manifest.php';
require_once __DIR__ . '/export/class-file-export.php';
require_once __DIR__ . '/export/class-snapshot-export.php';
require_once __DIR__ . '/export/class-export-controller.php';

// Import: writing into the site.
require_once __DIR__ . '/import/class-column-builder.php';
require_once __DIR__ . '/import/class-sequences.php';
require_once __DIR__ . '/import/class-table-builder.php';
require_once __DIR__ . '/import/class-staging-folders.php';
require_once __DIR__ . '/import/class-constraint-conflicts.php';
require_once __DIR__ . '/import/class-import-job.php';
require_once __DIR__ . '/import/class-staged-tables.php';
require_once __DIR__ . '/import/class-row-inserter.php';
require_once __DIR__ . '/import/class-row-loader.php';
require_once __DIR__ . '/import/class-file-writer.php';
require_once __DIR__ . '/import/class-import-preparation.php';
require_once __DIR__ . '/import/class-move-journal.php';
require_once __DIR__ . '/import/class-views-and-triggers.php';
require_once __DIR__ . '/import/class-import-swap.php';
require_once __DIR__ . '/import/class-import-cleanup.php';
require_once __DIR__ . '/import/class-import-controller.php';

// The API: what authenticated requests are answered with.
require_once __DIR__ . '/api/class-plugin-removal.php';
require_once __DIR__ . '/api/class-router.php';
require_once __DIR__ . '/api/class-endpoints.php';
