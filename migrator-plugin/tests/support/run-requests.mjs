// Answers requests of a test under a WebAssembly PHP: each input line names a request file for run-request.php, and is
// printed again when it is done. The test ends this program.
import { File } from 'node:buffer';
import { createInterface } from 'node:readline';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { webcrypto } from 'node:crypto';
import { websocket } from './database-socket.mjs';

// In Node 18 (Debian 12) these are not globals; what needs them is imported afterwards.
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
// A SAPI that opcache supports; otherwise every request would compile WordPress.
await php.setSapiName('fpm-fcgi');
await setPhpIniEntries(php, { ...ini, display_errors: 'stderr', html_errors: '0', 'opcache.file_cache': `${folder}/opcache` });

// Files of this machine, mounted for each request, because other processes change them.
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
	const answer = await php.runStream({ scriptPath: `${HERE}/run-request.php`, env: { WPCLONE_ASKED: line } });
	const out = await answer.stdoutText;
	console.error(await answer.stderrText);
	await answer.exitCode;
	await unmount();
	console.log(`${out}${line}`);
}
