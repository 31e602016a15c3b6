<?php
/**
 * JSON that came in, and JSON that goes out.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Json {
	/** @var array<string, mixed> */
	private $members;

	/** @param array<string, mixed> $members */
	public function __construct( array $members ) {
		$this->members = $members;
	}

	/** A JSON object. */
	public static function parse( string $text ): self {
		$value = json_decode( $text, true, 32 );
		if ( ! is_array( $value ) ) {
			throw Trouble::bad( '' );
		}
		return new self( $value );
	}

	/** The text of a value. Names of files and tables stay readable. */
	public static function text( array $value ): string {
		$text = json_encode( (object) $value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE );
		if ( ! is_string( $text ) ) {
			throw new Trouble( 'failed' );
		}
		return $text;
	}

	/** Whether the member is there and not null. */
	public function has( string $name ): bool {
		return isset( $this->members[ $name ] );
	}

	/** The member as it is. */
	public function any( string $name ) {
		return $this->members[ $name ] ?? null;
	}

	/** A text that matches. */
	public function text_of( string $name, string $form = '/\A.*\z/s', ?string $else = null ): string {
		$value = $this->members[ $name ] ?? $else;
		if ( ! is_string( $value ) || 1 !== preg_match( $form, $value ) ) {
			throw Trouble::bad( $name );
		}
		return $value;
	}

	/** A whole number within limits. */
	public function number( string $name, int $least, int $most, ?int $else = null ): int {
		$value = $this->members[ $name ] ?? $else;
		if ( ! is_int( $value ) || $value < $least || $value > $most ) {
			throw Trouble::bad( $name );
		}
		return $value;
	}

	/** True or false. */
	public function flag( string $name, ?bool $else = null ): bool {
		$value = $this->members[ $name ] ?? $else;
		if ( ! is_bool( $value ) ) {
			throw Trouble::bad( $name );
		}
		return $value;
	}

	/** A list of at most so many. */
	public function items( string $name, int $most, ?array $else = null ): array {
		$value = $this->members[ $name ] ?? $else;
		if ( ! is_array( $value ) || count( $value ) > $most || array_values( $value ) !== $value ) {
			throw Trouble::bad( $name );
		}
		return $value;
	}

	/** An object, or null where there is none. */
	public function part( string $name ): ?self {
		$value = $this->members[ $name ] ?? null;
		if ( null !== $value && ! is_array( $value ) ) {
			throw Trouble::bad( $name );
		}
		return null === $value ? null : new self( $value );
	}

	/** Base64url without padding, either way. */
	public static function to64( string $bytes ): string {
		return rtrim( strtr( base64_encode( $bytes ), '+/', '-_' ), '=' );
	}

	/** What to64() made; throws for anything else. */
	public static function from64( string $text, string $member ): string {
		$bytes = 1 === preg_match( '/\A[A-Za-z0-9_-]*\z/', $text ) ? base64_decode( strtr( $text, '-_', '+/' ), true ) : false;
		if ( ! is_string( $bytes ) || self::to64( $bytes ) !== $text ) {
			throw Trouble::bad( $member );
		}
		return $bytes;
	}
}
