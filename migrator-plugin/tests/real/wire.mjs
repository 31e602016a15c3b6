// A connection to the database for PHP in WebAssembly. The build can wait for bytes in some of its functions only; one
// that reads a result row by row is not among them. So here PHP does not wait: this thread does, while another one
// holds the socket.
import { EventEmitter } from 'node:events';
import { createConnection } from 'node:net';
import { fileURLToPath } from 'node:url';
import { MessageChannel, parentPort, receiveMessageOnPort, Worker } from 'node:worker_threads';

const DEADLINE_MS = 60_000;

// What PHP takes for TCP to any address leads to this socket, so that no port is needed.
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
				return new Wire(worker, path, sock);
			},
	};
}

// What the runtime uses of a WebSocket of the package ws.
class Wire extends EventEmitter {
	CONNECTING = 0;
	OPEN = 1;
	CLOSING = 2;
	CLOSED = 3;
	readyState = 1;
	told = new Int32Array(new SharedArrayBuffer(4));

	constructor(worker, path, sock) {
		super();
		const { port1, port2 } = new MessageChannel();
		this.port = port1;
		worker.postMessage({ path, port: port2, told: this.told }, [port2]);
		sock.recv_queue = new Received(this);
	}

	send(bytes) {
		this.port.postMessage(bytes);
	}

	// The next bytes, or null at the end.
	receive() {
		for (const until = Date.now() + DEADLINE_MS; this.readyState === this.OPEN && Date.now() < until; ) {
			const seen = Atomics.load(this.told, 0);
			const received = receiveMessageOnPort(this.port);
			if (received?.message) {
				return received.message;
			}
			if (received) {
				this.readyState = this.CLOSED;
				this.emit('close');
			} else {
				Atomics.wait(this.told, 0, seen, 1000);
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

// The queue that the runtime looks into before it would wait: it is empty only at the end.
class Received {
	parts = [];

	constructor(wire) {
		this.wire = wire;
	}

	get length() {
		if (this.parts.length === 0) {
			const bytes = this.wire.receive();
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

// In the other thread.
function hold({ path, port, told }) {
	const tell = (message) => {
		port.postMessage(message);
		Atomics.add(told, 0, 1);
		Atomics.notify(told, 0);
	};
	const socket = createConnection(path);
	socket.on('data', (bytes) => tell(new Uint8Array(bytes)));
	socket.on('error', () => {});
	socket.on('close', () => {
		tell(null);
		port.close();
	});
	port.on('message', (bytes) => (bytes === null ? socket.end() : socket.write(new Uint8Array(bytes))));
}

parentPort?.on('message', hold);
