<?php
/**
 * Rows of a table that were loaded in their other form, because a constraint did not accept the new one: how many, and what that
 * changes in the digest of all rows.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Constraint_Conflicts {
	/** @var array<string, int> Numbers of rows, of differing values, and of addresses in them. */
	private $counts = array(
		'rows'      => 0,
		'values'    => 0,
		'addresses' => 0,
	);

	/** @var string 32 bytes. */
	private $digest;

	private function __construct() {
		$this->digest = str_repeat( "\0", 32 );
	}

	/** What to_json() returned, or null. */
	public static function parse( ?string $json ): self {
		$self = new self();
		$read = null === $json ? array() : (array) json_decode( $json, true );
		foreach ( $self->counts as $what => $count ) {
			$self->counts[ $what ] = (int) ( $read[ $what ] ?? $count );
		}
		$self->digest = hex2bin( $read['digest'] ?? bin2hex( $self->digest ) );
		return $self;
	}

	/** Adds a row; both forms as they were received. */
	public function add( int $values, int $addresses, string $preferred, string $other ): void {
		++$this->counts['rows'];
		$this->counts['values']    += $values;
		$this->counts['addresses'] += $addresses;
		$this->digest              ^= Digest::sha256( $preferred ) ^ Digest::sha256( $other );
	}

	/** The fields of a response: none without a conflict. */
	public function fields(): array {
		return 0 === $this->counts['rows'] ? array() : array( 'constraint_conflicts' => $this->summary() );
	}

	public function to_json(): string {
		return (string) json_encode( $this->summary() );
	}

	private function summary(): array {
		return $this->counts + array( 'digest' => bin2hex( $this->digest ) );
	}
}
