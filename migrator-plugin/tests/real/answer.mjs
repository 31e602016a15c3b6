// Answers requests of a test under a PHP that needs no installing: each line that comes in names a file for answer.php,
// and is said again when it is done. The test ends this program.
import { File } from 'node:buffer';
import { createInterface } from 'node:readline';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { webcrypto } from 'node:crypto';
import { websocket } from './wire.mjs';

// Debian 12 has Node 18, where these are no globals yet; what needs them is imported after.
globalThis.File ??= File;
globalThis.crypto ??= webcrypto;
const { loadPHPRuntime, PHP, setPhpIniEntries } = await import('@php-wasm/universal');

const { version, folder, socket, ini } = JSON.parse(process.argv[2]);
const HERE = dirname(fileURLToPath(import.meta.url));

const { getPHPLoaderModule } = await import(`@php-wasm/node-${version.replace('.', '-')}`);
const php = new PHP(
	await loadPHPRuntime(await getPHPLoaderModule(), {
		ENV: { WPCLONE_DB_HOST: '127.0.0.1:3306' },
		websocket: websocket(socket),
	})
);
// A name that opcache works for; else each request would compile WordPress.
await php.setSapiName('fpm-fcgi');
await setPhpIniEntries(php, { ...ini, display_errors: 'stderr', html_errors: '0', 'opcache.file_cache': `${folder}/opcache` });

// Its files are those of this machine, looked at anew for each request, as others change them.
async function mounted(path) {
	php.mkdirTree(path);
	return php.mount(path, (_, FS) => {
		FS.mount(FS.filesystems.NODEFS, { root: path }, path);
		return () => FS.unmount(path);
	});
}

await mounted(HERE);
for await (const line of createInterface({ input: process.stdin })) {
	const unmount = await mounted(folder);
	const answer = await php.runStream({ scriptPath: `${HERE}/answer.php`, env: { WPCLONE_ASKED: line } });
	const out = await answer.stdoutText;
	console.error(await answer.stderrText);
	await answer.exitCode;
	await unmount();
	console.log(`${out}${line}`);
}
