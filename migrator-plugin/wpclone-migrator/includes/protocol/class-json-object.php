<?php
/**
 * A JSON object of a request: its fields, read with type and limits checked. A field that does not match is a
 * bad_request with the field's name.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Json_Object {
	/** @var array<string, mixed> */
	private $fields;

	/** @param array<string, mixed> $fields */
	public function __construct( array $fields ) {
		$this->fields = $fields;
	}

	/** Parses the text of a JSON object. */
	public static function parse( string $text ): self {
		$value = json_decode( $text, true, 32 );
		if ( ! is_array( $value ) ) {
			throw Migrator_Error::bad_request( '' );
		}
		return new self( $value );
	}

	/** The JSON text of an object. Names of files and tables stay readable. */
	public static function encode( array $value ): string {
		$text = json_encode( (object) $value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE );
		if ( ! is_string( $text ) ) {
			throw new Migrator_Error( 'internal_error' );
		}
		return $text;
	}

	/** Whether the field exists and is not null. */
	public function has( string $name ): bool {
		return isset( $this->fields[ $name ] );
	}

	/** The field of whatever type, or null. */
	public function get( string $name ) {
		return $this->fields[ $name ] ?? null;
	}

	/** A string that matches the pattern. */
	public function get_string( string $name, string $pattern = '/\A.*\z/s', ?string $default = null ): string {
		$value = $this->fields[ $name ] ?? $default;
		if ( ! is_string( $value ) || 1 !== preg_match( $pattern, $value ) ) {
			throw Migrator_Error::bad_request( $name );
		}
		return $value;
	}

	/** An integer from `$min` to `$max`. */
	public function get_int( string $name, int $min, int $max, ?int $default = null ): int {
		$value = $this->fields[ $name ] ?? $default;
		if ( ! is_int( $value ) || $value < $min || $value > $max ) {
			throw Migrator_Error::bad_request( $name );
		}
		return $value;
	}

	/** A boolean. */
	public function get_bool( string $name, ?bool $default = null ): bool {
		$value = $this->fields[ $name ] ?? $default;
		if ( ! is_bool( $value ) ) {
			throw Migrator_Error::bad_request( $name );
		}
		return $value;
	}

	/** A list of at most `$max` items. */
	public function get_list( string $name, int $max, ?array $default = null ): array {
		$value = $this->fields[ $name ] ?? $default;
		if ( ! is_array( $value ) || count( $value ) > $max || array_values( $value ) !== $value ) {
			throw Migrator_Error::bad_request( $name );
		}
		return $value;
	}

	/** An object, or null if there is none. */
	public function get_object( string $name ): ?self {
		$value = $this->fields[ $name ] ?? null;
		if ( null !== $value && ! is_array( $value ) ) {
			throw Migrator_Error::bad_request( $name );
		}
		return null === $value ? null : new self( $value );
	}

	/** Base64url without padding (RFC 4648, section 5). */
	public static function base64url_encode( string $bytes ): string {
		return rtrim( strtr( base64_encode( $bytes ), '+/', '-_' ), '=' );
	}

	/** Reverses base64url_encode(); any other text is a bad_request about `$field`. */
	public static function base64url_decode( string $text, string $field ): string {
		$bytes = 1 === preg_match( '/\A[A-Za-z0-9_-]*\z/', $text ) ? base64_decode( strtr( $text, '-_', '+/' ), true ) : false;
		if ( ! is_string( $bytes ) || self::base64url_encode( $bytes ) !== $text ) {
			throw Migrator_Error::bad_request( $field );
		}
		return $bytes;
	}
}
