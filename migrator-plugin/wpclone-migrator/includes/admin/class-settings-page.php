<?php
/**
 * Settings → WPClone Migrator. wpclone reads this page by its ids, never by its words.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Settings_Page {
	const SLUG  = 'wpclone-migrator';
	const OPEN  = 'wpclone_migrator_open';
	const CLOSE = 'wpclone_migrator_close';

	/** Hooks the page and its two forms into wp-admin. */
	public static function register(): void {
		add_action( 'admin_menu', array( self::class, 'menu' ) );
		add_action( 'admin_post_' . self::OPEN, array( self::class, 'open' ) );
		add_action( 'admin_post_' . self::CLOSE, array( self::class, 'close' ) );
	}

	/** Adds the page to the menu "Settings". */
	public static function menu(): void {
		$title = __( 'WPClone Migrator', 'wpclone-migrator' );
		$hook  = add_options_page( $title, $title, self::capability(), self::SLUG, array( self::class, 'render' ) );
		add_action(
			'admin_enqueue_scripts',
			static function ( $page ) use ( $hook ) {
				if ( $page === $hook ) {
					wp_enqueue_script( self::SLUG, plugins_url( 'assets/settings.js', PLUGIN_FILE ), array(), plugin_version(), true );
				}
			}
		);
	}

	/** The form "open" was sent. */
	public static function open(): void {
		self::check( self::OPEN );
		// phpcs:ignore WordPress.Security.NonceVerification -- check() did.
		$import = isset( $_POST['import'] ) && '1' === $_POST['import'];
		if ( ! Access_Window::open( time(), $import ) ) {
			wp_die( esc_html__( 'The migrator could not be opened: the database did not store it.', 'wpclone-migrator' ), '', array( 'response' => 500 ) );
		}
		self::back();
	}

	/** The form "forget" was sent. */
	public static function close(): void {
		self::check( self::CLOSE );
		Option_Store::delete_all();
		self::back();
	}

	/** What a person must be allowed to see the key. The key speaks for the whole installation. */
	private static function capability(): string {
		return is_multisite() ? 'manage_network_options' : 'manage_options';
	}

	/** Ends the request unless it is a POST of ours by somebody who may. */
	private static function check( string $action ): void {
		if ( ! current_user_can( self::capability() ) || 'POST' !== ( $_SERVER['REQUEST_METHOD'] ?? '' ) ) {
			wp_die( esc_html__( 'Sorry, you are not allowed to do that.', 'wpclone-migrator' ), '', array( 'response' => 403 ) );
		}
		check_admin_referer( $action );
	}

	private static function back(): void {
		wp_safe_redirect( admin_url( 'options-general.php?page=' . self::SLUG ), 303 );
		exit;
	}

	/** Prints the page. */
	public static function render(): void {
		$now   = time();
		$state = Access_Window::load();
		$open  = $state->is_open( $now );
		?>
		<div class="wrap" id="wpclone-migrator"
			data-version="<?php echo esc_attr( plugin_version() ); ?>"
			data-open="<?php echo $open ? '1' : '0'; ?>"
			data-import="<?php echo $open && $state->import_enabled() ? '1' : '0'; ?>">
			<h1><?php esc_html_e( 'WPClone Migrator', 'wpclone-migrator' ); ?></h1>
			<p>
				<?php esc_html_e( 'While it is open, wpclone can read this site with its key. Nobody can without the key.', 'wpclone-migrator' ); ?>
			</p>
			<?php
			self::render_open( $state, $open, $now );
			if ( $state->has_key() ) {
				self::render_close();
			}
			?>
		</div>
		<?php
	}

	private static function render_open( Access_Window $state, bool $open, int $now ): void {
		?>
		<form id="wpclone-migrator-open" method="post" action="<?php echo esc_url( admin_url( 'admin-post.php' ) ); ?>">
			<input type="hidden" name="action" value="<?php echo esc_attr( self::OPEN ); ?>">
			<?php self::render_nonce( self::OPEN ); ?>
			<table class="form-table" role="presentation">
				<tr>
					<th scope="row"><?php esc_html_e( 'State', 'wpclone-migrator' ); ?></th>
					<td>
						<?php
						if ( $open ) {
							/* translators: %s: a time of day. */
							echo esc_html( sprintf( __( 'Open until %s; each use makes it an hour again.', 'wpclone-migrator' ), wp_date( (string) get_option( 'time_format' ), $state->open_until() ) ) );
						} else {
							esc_html_e( 'Asleep: it answers nobody.', 'wpclone-migrator' );
						}
						?>
					</td>
				</tr>
				<?php if ( $open ) : ?>
				<tr>
					<th scope="row"><label for="wpclone-migrator-key"><?php esc_html_e( 'Key', 'wpclone-migrator' ); ?></label></th>
					<td>
						<input id="wpclone-migrator-key" class="regular-text code" type="password" readonly autocomplete="off" value="<?php echo esc_attr( (string) $state->key( $now ) ); ?>">
						<button id="wpclone-migrator-show" class="button hide-if-no-js" type="button"><?php esc_html_e( 'Show', 'wpclone-migrator' ); ?></button>
					</td>
				</tr>
				<?php endif; ?>
				<tr>
					<th scope="row"><?php esc_html_e( 'Import', 'wpclone-migrator' ); ?></th>
					<td>
						<label>
							<input name="import" type="checkbox" value="1" <?php checked( $open && $state->import_enabled() ); ?>>
							<?php esc_html_e( 'Let wpclone write to this site, too', 'wpclone-migrator' ); ?>
						</label>
					</td>
				</tr>
			</table>
			<?php
			$label = $open ? __( 'Keep open for an hour', 'wpclone-migrator' ) : __( 'Open for an hour', 'wpclone-migrator' );
			// A button named "submit" would hide the form's own submit() from scripts.
			submit_button( $label, 'primary', 'wpclone-migrator-send' );
			?>
		</form>
		<?php
	}

	private static function render_close(): void {
		?>
		<form id="wpclone-migrator-close" method="post" action="<?php echo esc_url( admin_url( 'admin-post.php' ) ); ?>">
			<input type="hidden" name="action" value="<?php echo esc_attr( self::CLOSE ); ?>">
			<?php
			self::render_nonce( self::CLOSE );
			submit_button( __( 'Forget the key', 'wpclone-migrator' ), 'secondary', 'wpclone-migrator-forget' );
			?>
		</form>
		<?php
	}

	/** Not wp_nonce_field(): it would give two fields of this page one id. */
	private static function render_nonce( string $action ): void {
		printf( '<input type="hidden" name="_wpnonce" value="%s">', esc_attr( wp_create_nonce( $action ) ) );
	}
}
