// Runs PHP files of this repository under a WebAssembly PHP: run-php.mjs VERSION [-l] FILE...
// With -l it only checks the syntax of each file. Exits with 1 if any file failed.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { File } from 'node:buffer';
import { webcrypto } from 'node:crypto';

// In Node 18 (Debian 12) these are not globals; what needs them is imported afterwards.
globalThis.File ??= File;
globalThis.crypto ??= webcrypto;
const { loadPHPRuntime, PHP } = await import('@php-wasm/universal');

const DEADLINE_MS = 60_000;
const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const SEEN_BY_PHP = ['migrator-plugin/wpclone-migrator', 'migrator-plugin/tests', 'fixtures/migrator'];

const [version, ...rest] = process.argv.slice(2);
const lint = rest[0] === '-l';
const files = lint ? rest.slice(1) : rest;
if (!version || files.length === 0) {
	console.error('usage: run-php.mjs VERSION [-l] FILE...');
	process.exit(2);
}

setTimeout(() => {
	console.error(`FAILED PHP ${version}: not done after ${DEADLINE_MS / 1000} s`);
	process.exit(1);
}, DEADLINE_MS);

const { getPHPLoaderModule } = await import(`@php-wasm/node-${version.replace('.', '-')}`);
const loader = await getPHPLoaderModule();
let failed = false;
for (const file of files) {
	failed = (await run(relative(REPOSITORY, resolve(file)))) !== 0 || failed;
}
process.exit(failed ? 1 : 0);

// A new PHP for each file, with a copy of the files it may read.
async function run(file) {
	const php = new PHP(await loadPHPRuntime(loader, {}));
	for (const folder of SEEN_BY_PHP) {
		copy(php, folder);
	}
	const { stdout, stderr, exitCode } = await php.cli(['php', ...(lint ? ['-l'] : []), `/repository/${file}`]);
	const texts = await Promise.all([text(stdout), text(stderr)]);
	const code = await exitCode;
	process.stdout.write(texts.join(''));
	if (code !== 0) {
		console.log(`FAILED ${file} under PHP ${version}: ended with ${code}`);
	}
	return code;
}

function copy(php, folder) {
	php.mkdirTree(`/repository/${folder}`);
	for (const name of readdirSync(join(REPOSITORY, folder))) {
		const path = `${folder}/${name}`;
		if (name === 'node_modules') {
			continue;
		}
		if (statSync(join(REPOSITORY, path)).isDirectory()) {
			copy(php, path);
		} else {
			php.writeFile(`/repository/${path}`, readFileSync(join(REPOSITORY, path)));
		}
	}
}

async function text(stream) {
	const decoder = new TextDecoder();
	let all = '';
	for await (const chunk of stream) {
		all += decoder.decode(chunk, { stream: true });
	}
	return all;
}
