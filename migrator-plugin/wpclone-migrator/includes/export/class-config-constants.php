<?php
/**
 * The constants that the site's own configuration defines: wp-config.php and what it loads.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Config_Constants {
	/** The most constants, and the most bytes of all their values together. */
	const MAX_CONSTANTS = 100;
	const MAX_BYTES     = 4096;

	/** Parts of the names of secrets. */
	private const SECRET_NAME = '/\ADB_|KEY|SALT|SECRET|PASS|PWD|TOKEN|AUTH|CREDENTIAL|PRIVATE|NONCE|LICEN[CS]E|CERT|SIGNATURE|HASH|DSN|USER|LOGIN|MAIL/i';

	/** What only a secret looks like: a long random text, a login in an address, a PEM file. */
	private const SECRET_VALUE = '~\A(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_.\-]{20,}\z|://[^/]*@|-----BEGIN~';

	/** Beginnings of paths of this server. */
	private const PATH = '~\A(?:/|\\\\|[A-Za-z]:[\\\\/]|file:|unix:)~';

	/**
	 * The constants that a copy may have: name => a boolean, integer or text. And the names of the others, with the reason:
	 * `secret`, `path`, `address` (of this site), `kind` (no scalar, or no text), `size`.
	 *
	 * @return array{0: array<string, mixed>, 1: array<string, string>}
	 */
	public static function found(): array {
		$may_travel = array();
		$stay       = array();
		$bytes      = 0;
		foreach ( self::defined_by_configuration() as $name => $value ) {
			$reason = self::reason_to_stay( $name, $value );
			if ( null === $reason ) {
				$bytes += strlen( $name ) + ( is_string( $value ) ? strlen( $value ) : 8 );
				$reason = $bytes > self::MAX_BYTES ? 'size' : null;
			}
			if ( null === $reason ) {
				$may_travel[ $name ] = $value;
			} else {
				$stay[ $name ] = $reason;
			}
			if ( count( $may_travel ) + count( $stay ) >= self::MAX_CONSTANTS ) {
				break;
			}
		}
		return array( $may_travel, $stay );
	}

	/** wp-load.php defines ABSPATH before it loads the configuration, and wp-settings.php begins with WPINC. */
	private static function defined_by_configuration(): array {
		$found = array();
		foreach ( get_defined_constants( true )['user'] ?? array() as $name => $value ) {
			if ( 'WPINC' === $name ) {
				return $found;
			}
			if ( 'ABSPATH' === $name ) {
				$found = array();
			} elseif ( 1 === preg_match( '/\A[A-Za-z_][A-Za-z0-9_]{0,99}\z/', (string) $name ) ) {
				$found[ $name ] = $value;
			}
		}
		return array();
	}

	/** @param mixed $value */
	public static function reason_to_stay( string $name, $value ): ?string {
		if ( 1 === preg_match( self::SECRET_NAME, $name ) ) {
			return 'secret';
		}
		if ( is_bool( $value ) || is_int( $value ) ) {
			return null;
		}
		if ( ! is_string( $value ) || 1 !== preg_match( '/\A[^\x00-\x08\x0e-\x1f]*\z/u', $value ) ) {
			return 'kind';
		}
		if ( strlen( $value ) > 1024 ) {
			return 'size';
		}
		// A path looks like a long random text too.
		if ( 1 === preg_match( self::PATH, $value ) || false !== strpos( $value, rtrim( ABSPATH, '/' ) ) ) {
			return 'path';
		}
		if ( 1 === preg_match( self::SECRET_VALUE, $value ) ) {
			return 'secret';
		}
		foreach ( array( 'home', 'siteurl' ) as $option ) {
			$host = (string) wp_parse_url( (string) get_option( $option ), PHP_URL_HOST );
			if ( '' !== $host && false !== stripos( $value, $host ) ) {
				return 'address';
			}
		}
		return null;
	}
}
