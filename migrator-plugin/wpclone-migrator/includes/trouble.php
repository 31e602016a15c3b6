<?php
/**
 * What goes wrong on purpose: a code of the protocol, and never a text of PHP's or the database's.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Trouble extends \Exception {
	/** Code → HTTP status. The README of crates/migrator says what each means. */
	const STATUS = array(
		'bad_request' => 400,
		'busy'        => 429,
		'no_job'      => 409,
		'sequence'    => 409,
		'restart'     => 409,
		'gap'         => 409,
		'moved'       => 409,
		'unfinished'  => 409,
		'refused'     => 422,
		'multisite'   => 422,
		'packet'      => 422,
		'no_space'    => 507,
		'database'    => 500,
		'no_database' => 500,
		'failed'      => 500,
	);

	/** @var string */
	public $name;

	/** @var array<string, mixed> What the code has to tell besides. */
	public $members;

	/** @param array<string, mixed> $members */
	public function __construct( string $name, array $members = array() ) {
		parent::__construct( $name );
		$this->name    = $name;
		$this->members = $members;
	}

	/** The same for a member of a request that is not what it should be. */
	public static function bad( string $member ): self {
		return new self( 'bad_request', array( 'member' => $member ) );
	}

	/** Anything that was thrown, as the answer tells it. What it really was goes to PHP's log, under the id. */
	public static function told( \Throwable $thrown ): array {
		$trouble = $thrown instanceof self ? $thrown : new self( 'failed' );
		$id      = bin2hex( random_bytes( 4 ) );
		if ( self::STATUS[ $trouble->name ] >= 500 ) {
			$what = $thrown instanceof self ? $thrown->name . ' ' . wp_json_encode( $thrown->members ) : get_class( $thrown );
			// phpcs:ignore WordPress.PHP.DevelopmentFunctions -- no message: it may hold what is nobody's business.
			error_log( "wpclone-migrator $id: $what at " . basename( $thrown->getFile() ) . ':' . $thrown->getLine() );
		}
		return array(
			'error' => $trouble->name,
			'id'    => $id,
		) + $trouble->members;
	}

	/** HTTP status of an answer made by told(). */
	public static function status( array $told ): int {
		return self::STATUS[ $told['error'] ];
	}
}
