<?php
/**
 * The page Settings → WPClone Migrator. wpclone reads it by element ids, never by its texts.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Settings_Page {
	const SLUG  = 'wpclone-migrator';
	const OPEN  = 'wpclone_migrator_open';
	const CLOSE = 'wpclone_migrator_close';

	/** Registers the page and its two forms. */
	public static function register(): void {
		add_action( 'admin_menu', array( self::class, 'menu' ) );
		add_action( 'admin_post_' . self::OPEN, array( self::class, 'open' ) );
		add_action( 'admin_post_' . self::CLOSE, array( self::class, 'close' ) );
	}

	/** Adds the page to the Settings menu. */
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

	/** Handles the form that enables access. */
	public static function open(): void {
		self::check( self::OPEN );
		// phpcs:ignore WordPress.Security.NonceVerification -- check() verified it.
		$import = isset( $_POST['import'] ) && '1' === $_POST['import'];
		if ( ! Access_Window::open( time(), $import ) ) {
			wp_die( esc_html__( 'Access could not be enabled: the database did not create the table of the plugin, or did not store the setting.', 'wpclone-migrator' ), '', array( 'response' => 500 ) );
		}
		self::back();
	}

	/** Handles the form that revokes the key. */
	public static function close(): void {
		self::check( self::CLOSE );
		State_Store::delete_all();
		self::back();
	}

	/** The capability needed to see the key. On a network the key gives access to the whole installation. */
	private static function capability(): string {
		return is_multisite() ? 'manage_network_options' : 'manage_options';
	}

	/** Ends the request unless it is a POST from an administrator with a valid nonce. */
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

	/** Prints the page. WordPress has checked the capability; the page has the key, so it is checked again. */
	public static function render(): void {
		if ( ! current_user_can( self::capability() ) ) {
			return;
		}
		$now    = time();
		$window = Access_Window::load();
		$open   = $window->is_open( $now );
		?>
		<div class="wrap" id="wpclone-migrator"
			data-version="<?php echo esc_attr( plugin_version() ); ?>"
			data-open="<?php echo $open ? '1' : '0'; ?>"
			data-import="<?php echo $open && $window->import_enabled() ? '1' : '0'; ?>">
			<h1><?php esc_html_e( 'WPClone Migrator', 'wpclone-migrator' ); ?></h1>
			<p>
				<?php esc_html_e( 'wpclone uses this plugin to copy the site. While access is enabled, whoever has the key can read all content of the site. Access ends one hour after the last use.', 'wpclone-migrator' ); ?>
			</p>
			<?php
			self::render_open( $window, $open, $now );
			if ( $window->has_key() ) {
				self::render_close();
			}
			?>
		</div>
		<?php
	}

	private static function render_open( Access_Window $window, bool $open, int $now ): void {
		?>
		<form id="wpclone-migrator-open" method="post" action="<?php echo esc_url( admin_url( 'admin-post.php' ) ); ?>">
			<input type="hidden" name="action" value="<?php echo esc_attr( self::OPEN ); ?>">
			<?php self::render_nonce( self::OPEN ); ?>
			<table class="form-table" role="presentation">
				<tr>
					<th scope="row"><?php esc_html_e( 'Access', 'wpclone-migrator' ); ?></th>
					<td>
						<?php
						if ( $open ) {
							/* translators: %s: a time of day. */
							echo esc_html( sprintf( __( 'Enabled until %s; extended by every use.', 'wpclone-migrator' ), wp_date( (string) get_option( 'time_format' ), $window->open_until() ) ) );
						} else {
							esc_html_e( 'Disabled: all requests are rejected.', 'wpclone-migrator' );
						}
						?>
					</td>
				</tr>
				<?php if ( $open ) : ?>
				<tr>
					<th scope="row"><label for="wpclone-migrator-key"><?php esc_html_e( 'Key', 'wpclone-migrator' ); ?></label></th>
					<td>
						<input id="wpclone-migrator-key" class="regular-text code" type="password" readonly autocomplete="off" value="<?php echo esc_attr( (string) $window->key( $now ) ); ?>">
						<button id="wpclone-migrator-show" class="button hide-if-no-js" type="button"><?php esc_html_e( 'Show', 'wpclone-migrator' ); ?></button>
					</td>
				</tr>
				<?php endif; ?>
				<tr>
					<th scope="row"><?php esc_html_e( 'Import', 'wpclone-migrator' ); ?></th>
					<td>
						<label>
							<input name="import" type="checkbox" value="1" <?php checked( $open && $window->import_enabled() ); ?>>
							<?php esc_html_e( 'Also allow wpclone to replace the content of this site', 'wpclone-migrator' ); ?>
						</label>
					</td>
				</tr>
			</table>
			<?php
			$label = $open ? __( 'Extend for one hour', 'wpclone-migrator' ) : __( 'Enable for one hour', 'wpclone-migrator' );
			// A button named "submit" would hide the form's submit() method from scripts.
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
			submit_button( __( 'Disable and revoke the key', 'wpclone-migrator' ), 'secondary', 'wpclone-migrator-revoke' );
			?>
		</form>
		<?php
	}

	/** wp_nonce_field() would use the same id in both forms. */
	private static function render_nonce( string $action ): void {
		printf( '<input type="hidden" name="_wpnonce" value="%s">', esc_attr( wp_create_nonce( $action ) ) );
	}
}
