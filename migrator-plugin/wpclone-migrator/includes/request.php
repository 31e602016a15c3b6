<?php
/**
 * A signed request, as it came in.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Request {
	/** The most bytes of a body that is JSON. */
	const MOST_JSON = 1048576;

	/** The most bytes of a body that is frames; it is never in memory as a whole. */
	const MOST_FRAMES = 16777216;

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

	/** @var resource The body. */
	private $body;

	/** @param array<string, mixed> $fields What is missing, or is no text, is empty. */
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

	/** The digest of the body as hex, or null if it has more bytes than that. */
	public function body_hash( int $most ): ?string {
		rewind( $this->body );
		$digest = Sha::of_stream( $this->body, $most );
		return null === $digest ? null : bin2hex( $digest );
	}

	/** The body as JSON. An empty one says as much as an empty object. */
	public function json(): Json {
		rewind( $this->body );
		$text = (string) stream_get_contents( $this->body, self::MOST_JSON + 1 );
		return Json::parse( '' === $text ? '{}' : $text );
	}

	/** The body's frames. */
	public function frames(): \Generator {
		rewind( $this->body );
		return Frames::read( $this->body );
	}

	/**
	 * The request that PHP is answering. Values come as WordPress has them, slashed or not: the gate lets only
	 * digits and hex through, which slashing leaves alone.
	 *
	 * @param mixed $route
	 */
	public static function current( $route ): self {
		// phpcs:disable WordPress.Security -- the gate checks every value.
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
