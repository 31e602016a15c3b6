<?php
/**
 * A signed request, as it came in.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Request {
	/** The most bytes that a body may have. */
	const MOST_BODY = 65536;

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

	/** @var string */
	public $body;

	/** @param array<string, mixed> $fields What is missing, or is no text, is empty. */
	public function __construct( array $fields ) {
		foreach ( array( 'method', 'route', 'unique', 'timestamp', 'nonce', 'signature', 'body' ) as $name ) {
			$this->$name = isset( $fields[ $name ] ) && is_string( $fields[ $name ] ) ? $fields[ $name ] : '';
		}
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
				'body'      => (string) file_get_contents( 'php://input', false, null, 0, self::MOST_BODY + 1 ),
			)
		);
		// phpcs:enable
	}
}
