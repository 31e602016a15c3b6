// The button that shows the key. WordPress hides it where scripts are disabled.
( function () {
	var key = document.getElementById( 'wpclone-migrator-key' );
	var button = document.getElementById( 'wpclone-migrator-show' );
	if ( key && button ) {
		button.addEventListener( 'click', function () {
			key.type = 'text';
			key.select();
			button.remove();
		} );
	}
} )();
