// Runs PHP files of this repository under a WebAssembly PHP: run-php.mjs VERSION [-l] FILE...
// With -l it only compiles them. Exits with 1 if any file failed.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { File } from 'node:buffer';
import { webcrypto } from 'node:crypto';

// In Node 18 (Debian 12) these are not globals; what needs them is imported afterwards.
globalThis.File ??= File;
globalThis.crypto ??= webcrypto;
const { loadPHPRuntime, PHP, setPhpIniEntries } = await import('@php-wasm/universal');

const DEADLINE_MS = 120_000;
const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const FOLDERS = ['migrator-plugin/wpclone-migrator', 'migrator-plugin/tests', 'fixtures/migrator'];

const [version, ...rest] = process.argv.slice(2);
const isLint = rest[0] === '-l';
const files = (isLint ? rest.slice(1) : rest).map((file) => relative(REPOSITORY, resolve(file)));
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
if (isLint) {
	failed = !(await lint());
} else {
	for (const file of files) {
		failed = (await run(file)) !== 0 || failed;
	}
}
process.exit(failed ? 1 : 0);

// A new PHP with a copy of the files it may read.
async function newPhp() {
	const php = new PHP(await loadPHPRuntime(loader, {}));
	for (const folder of FOLDERS) {
		copy(php, folder);
	}
	return php;
}

// Runs a file in a PHP of its own.
async function run(file) {
	const php = await newPhp();
	const { stdout, stderr, exitCode } = await php.cli(['php', `/repository/${file}`]);
	const texts = await Promise.all([text(stdout), text(stderr)]);
	const code = await exitCode;
	process.stdout.write(texts.join(''));
	if (code !== 0) {
		console.log(`FAILED ${file} under PHP ${version}: ended with ${code}`);
	}
	return code;
}

// Compiles all files in one PHP; `php -l` would need a new one for each.
async function lint() {
	const php = await newPhp();
	// A SAPI that opcache supports.
	await php.setSapiName('fpm-fcgi');
	php.mkdirTree('/opcache');
	await setPhpIniEntries(php, { 'opcache.enable': '1', 'opcache.file_cache': '/opcache', display_errors: 'stderr', html_errors: '0' });
	php.writeFile('/files', files.join('\n'));
	php.writeFile(
		'/lint.php',
		`<?php
		foreach ( file( '/files', FILE_IGNORE_NEW_LINES ) as $file ) {
			try {
				echo opcache_compile_file( "/repository/$file" ) ? "No syntax errors detected in $file\\n" : "FAILED $file does not compile\\n";
			} catch ( Error $e ) {
				echo "FAILED $file: {$e->getMessage()} in line {$e->getLine()}\\n";
			}
		}`,
	);
	const answer = await php.runStream({ scriptPath: '/lint.php' });
	const [out, errors] = [await answer.stdoutText, await answer.stderrText];
	process.stdout.write(out + errors);
	// An error that PHP does not throw ends the script.
	const compiled = out.split('\n').filter((line) => line.startsWith('No syntax errors')).length;
	return compiled === files.length && errors === '';
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
