// A database connection for PHP in WebAssembly. The build can suspend only in some functions, and reading a result row by row
// is not one of them. So PHP does not suspend: this thread blocks, while another one owns the
// socket.
import { EventEmitter } from 'node:events';
import { createConnection } from 'node:net';
import { fileURLToPath } from 'node:url';
import { MessageChannel, parentPort, receiveMessageOnPort, Worker } from 'node:worker_threads';

const DEADLINE_MS = 60_000;

// All TCP connections of PHP lead to this socket, so that no port is needed.
export function websocket(path) {
	const worker = new Worker(fileURLToPath(import.meta.url));
	worker.unref();
	let sock;
	return {
		url: (of) => {
			sock = of;
			return 'ws://database';
		},
		decorator: () =>
			function () {
				return new Connection(worker, path, sock);
			},
	};
}

// The part of the interface of `ws`' WebSocket that the runtime uses.
class Connection extends EventEmitter {
	CONNECTING = 0;
	OPEN = 1;
	CLOSING = 2;
	CLOSED = 3;
	readyState = 1;
	messageCount = new Int32Array(new SharedArrayBuffer(4));

	constructor(worker, path, sock) {
		super();
		const { port1, port2 } = new MessageChannel();
		this.port = port1;
		worker.postMessage({ path, port: port2, counter: this.messageCount }, [port2]);
		sock.recv_queue = new Received(this);
	}

	send(bytes) {
		this.port.postMessage(bytes);
	}

	// The next bytes, or null at the end.
	receive() {
		for (const until = Date.now() + DEADLINE_MS; this.readyState === this.OPEN && Date.now() < until; ) {
			const seen = Atomics.load(this.messageCount, 0);
			const received = receiveMessageOnPort(this.port);
			if (received?.message) {
				return received.message;
			}
			if (received) {
				this.readyState = this.CLOSED;
				this.emit('close');
			} else {
				Atomics.wait(this.messageCount, 0, seen, 1000);
			}
		}
		return null;
	}

	close() {
		this.readyState = this.CLOSED;
		this.port.postMessage(null);
	}

	setSocketOpt() {}
}

// The queue that the runtime checks before it would suspend: it is empty only at the end.
class Received {
	parts = [];

	constructor(connection) {
		this.connection = connection;
	}

	get length() {
		if (this.parts.length === 0) {
			const bytes = this.connection.receive();
			if (bytes !== null) {
				this.parts.push({ data: bytes });
			}
		}
		return this.parts.length;
	}

	shift() {
		return this.length > 0 ? this.parts.shift() : undefined;
	}

	unshift(part) {
		this.parts.unshift(part);
	}
}

// Runs in the other thread.
function ownSocket({ path, port, counter }) {
	const send = (message) => {
		port.postMessage(message);
		Atomics.add(counter, 0, 1);
		Atomics.notify(counter, 0);
	};
	const socket = createConnection(path);
	socket.on('data', (bytes) => send(new Uint8Array(bytes)));
	socket.on('error', () => {});
	socket.on('close', () => {
		send(null);
		port.close();
	});
	port.on('message', (bytes) => (bytes === null ? socket.end() : socket.write(new Uint8Array(bytes))));
}

parentPort?.on('message', ownSocket);
