<?php
/**
 * An error of the protocol: a code and fields, never a message of PHP. What the database says about a table is a field; what
 * it says about a row is not, because that quotes values.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Migrator_Error extends \Exception {
	/** Code => HTTP status. The README of crates/migrator explains each code. */
	const STATUS = array(
		'bad_request'           => 400,
		'busy'                  => 429,
		'job_not_found'         => 409,
		'job_in_progress'       => 409,
		'out_of_sequence'       => 409,
		'restart_table'         => 409,
		'offset_gap'            => 409,
		'gone'                  => 409,
		'incomplete'            => 409,
		'rejected'              => 422,
		'multisite_unsupported' => 422,
		'value_too_large'       => 422,
		'no_space'              => 507,
		'database_error'        => 500,
		'database_busy'         => 500,
		'database_unavailable'  => 500,
		'internal_error'        => 500,
	);

	/** @var string */
	public $error_code;

	/** @var array<string, mixed> Further fields of the response. */
	public $fields;

	/** @param array<string, mixed> $fields */
	public function __construct( string $error_code, array $fields = array() ) {
		parent::__construct( $error_code );
		$this->error_code = $error_code;
		$this->fields     = $fields;
	}

	/** The error for a field of a request that is missing or invalid. */
	public static function bad_request( string $field ): self {
		return new self( 'bad_request', array( 'field' => $field ) );
	}

	/** The fields of the response for anything that was thrown. Details of server errors go to PHP's log under the same id. */
	public static function describe( \Throwable $thrown ): array {
		$error = $thrown instanceof self ? $thrown : new self( 'internal_error' );
		$id    = bin2hex( random_bytes( 4 ) );
		if ( self::STATUS[ $error->error_code ] >= 500 ) {
			$what = $thrown instanceof self ? $thrown->error_code . ' ' . wp_json_encode( array_diff_key( $thrown->fields, array( 'message' => 0 ) ) ) : get_class( $thrown );
			// phpcs:ignore WordPress.PHP.DevelopmentFunctions -- without the message, which may contain content of the site.
			error_log( "wpclone-migrator $id: $what at " . basename( $thrown->getFile() ) . ':' . $thrown->getLine() );
		}
		return array(
			'error' => $error->error_code,
			'id'    => $id,
		) + $error->fields;
	}

	/** The HTTP status for a result of describe(). */
	public static function http_status( array $described ): int {
		return self::STATUS[ $described['error'] ];
	}
}
