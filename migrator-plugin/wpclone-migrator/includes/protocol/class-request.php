<?php
/**
 * A signed request as received; nothing of it has been checked yet.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Request {
	/** The maximum length of a JSON body. */
	const MAX_JSON_BYTES = 1048576;

	/** The maximum length of a body of frames; it is never in memory as a whole. */
	const MAX_FRAMES_BYTES = 16777216;

	/** @var string */
	public $method;

	/** @var string */
	public $route;

	/** @var string The query parameter that makes the address unique. */
	public $unique;

	/** @var string */
	public $timestamp;

	/** @var string */
	public $nonce;

	/** @var string */
	public $signature;

	/** @var resource */
	private $body;

	/** @param array<string, mixed> $fields What is missing or not a string becomes an empty string. */
	public function __construct( array $fields ) {
		foreach ( array( 'method', 'route', 'unique', 'timestamp', 'nonce', 'signature' ) as $name ) {
			$this->$name = isset( $fields[ $name ] ) && is_string( $fields[ $name ] ) ? $fields[ $name ] : '';
		}
		if ( isset( $fields['body'] ) && is_resource( $fields['body'] ) ) {
			$this->body = $fields['body'];
		} else {
			$this->body = fopen( 'php://memory', 'w+b' );
			fwrite( $this->body, isset( $fields['body'] ) && is_string( $fields['body'] ) ? $fields['body'] : '' );
		}
	}

	/** The digest of the body in hex, or null if the body is longer than `$max_bytes`. */
	public function body_digest( int $max_bytes ): ?string {
		rewind( $this->body );
		$digest = Digest::of_stream( $this->body, $max_bytes );
		return null === $digest ? null : bin2hex( $digest );
	}

	/** The body as JSON. An empty body counts as an empty object. */
	public function json(): Json_Object {
		rewind( $this->body );
		$text = (string) stream_get_contents( $this->body, self::MAX_JSON_BYTES + 1 );
		return Json_Object::parse( '' === $text ? '{}' : $text );
	}

	/** The frames of the body. */
	public function frames(): \Generator {
		rewind( $this->body );
		return Frame_Reader::read( $this->body );
	}

	/**
	 * The request that PHP is processing. WordPress may have added slashes to the values; the authenticator accepts only
	 * digits, letters and hex, which slashes do not change.
	 *
	 * @param mixed $route
	 */
	public static function from_globals( $route ): self {
		// phpcs:disable WordPress.Security -- Request_Authenticator checks every value.
		return new self(
			array(
				'method'    => $_SERVER['REQUEST_METHOD'] ?? '',
				'route'     => $route,
				'unique'    => $_GET['_'] ?? '',
				'timestamp' => $_SERVER['HTTP_X_WPCLONE_TIMESTAMP'] ?? '',
				'nonce'     => $_SERVER['HTTP_X_WPCLONE_NONCE'] ?? '',
				'signature' => $_SERVER['HTTP_X_WPCLONE_SIGNATURE'] ?? '',
				'body'      => fopen( 'php://input', 'rb' ),
			)
		);
		// phpcs:enable
	}
}
