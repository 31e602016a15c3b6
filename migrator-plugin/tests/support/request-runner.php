<?php
/**
 * Answers one request of a test; runs in a forked child or in another PHP of any supported version.
 */

use Wpclone\Migrator\Kill_Points;
use Wpclone\Migrator\Request;
use Wpclone\Migrator\Router;
use Wpclone\Migrator\Signature;

require_once __DIR__ . '/kill-points.php';

final class Request_Runner {
	/**
	 * Answers a request. `$asked` has the route, the key, a stream with the body, the step to be killed at, the file for the
	 * response, beside which its body is written, and perhaps signed fields that are not the usual ones.
	 */
	public static function answer( array $asked ): void {
		Kill_Points::$count = 0;
		Kill_Points::$kill  = $asked['kill'];
		$fields       = ( $asked['fields'] ?? array() ) + array(
			'method'    => 'POST',
			'route'     => $asked['route'],
			'unique'    => bin2hex( random_bytes( 16 ) ),
			'timestamp' => (string) time(),
			'nonce'     => bin2hex( random_bytes( 16 ) ),
			'body'      => $asked['body'],
		);
		$request      = new Request( $fields );
		$signed       = Signature::canonical_request( $request, (string) $request->body_digest( PHP_INT_MAX ) );
		$fields['signature'] = 'v1=' . hash_hmac( 'sha256', $signed, hex2bin( $asked['key'] ) );

		$errors = array();
		error_reporting( E_ALL ); // WordPress hides what is deprecated.
		set_error_handler(
			static function ( $severity, $message, $file, $line ) use ( &$errors ) {
				$ours = false !== strpos( $file, '/wpclone-migrator/' );
				if ( $ours && 0 !== ( error_reporting() & $severity ) ) {
					$errors[] = "$message at " . basename( $file ) . ":$line";
				}
				return ! $ours;
			}
		);
		$out  = fopen( "{$asked['file']}.body", 'wb' );
		$baseline = memory_get_usage();
		if ( function_exists( 'memory_reset_peak_usage' ) ) {
			memory_reset_peak_usage();
		}
		$answer = Router::respond( new Request( $fields ), time() );
		$answer->send( static function ( string $bytes ) use ( $out ) { fwrite( $out, $bytes ); } );
		fclose( $out );
		$peak = memory_get_peak_usage();
		file_put_contents( $asked['file'], serialize( array( $answer->status, $baseline, $peak, Kill_Points::$count, $errors, self::facts() ) ) );
	}

	/** Facts about this PHP. */
	private static function facts(): array {
		$functions = array( 'exec', 'shell_exec', 'system', 'passthru', 'proc_open', 'popen' );
		return array(
			'version'            => PHP_VERSION,
			'memory_limit'       => ini_get( 'memory_limit' ),
			'max_execution_time' => ini_get( 'max_execution_time' ),
			'runs_programs'      => array_values( array_filter( $functions, 'function_exists' ) ),
			'unzips'             => method_exists( 'ZipArchive', 'open' ),
			'extensions'         => get_loaded_extensions(),
		);
	}
}
