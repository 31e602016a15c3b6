// BullMQ as a side of the queue's benchmark. It reads commands as lines of JSON on stdin, and answers each with a line
// of JSON on stdout. The other side, with the same commands, is ../queue/side.rs.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const IN_FLIGHT = 50;
const QUEUE = 'bench';

const [url] = process.argv.slice(2);
const now = () => performance.timeOrigin + performance.now();
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

// As its guide says for production: a worker's connection never gives up, a bounded number of finished jobs is kept.
const connection = new Redis(url, { maxRetriesPerRequest: null });
const kept = { removeOnComplete: { count: 1000 }, removeOnFail: { count: 5000 } };
let queue;

// A job of so many bytes as JSON.
function job(site, bytes, secret) {
    const data = {
        kind: 'setup',
        url: `https://site-${String(site).padStart(7, '0')}.example`,
        username: 'admin',
        role: 'source',
        secrets: '',
    };
    data.secrets = secret.padEnd(bytes - JSON.stringify(data).length, 's');
    return data;
}

// Runs `count` calls, of which IN_FLIGHT are under way at any time.
async function inFlight(count, call) {
    let next = 0;
    const lane = async () => {
        while (next < count) await call(next++);
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
}

const commands = {
    async add({ count, bytes }) {
        const began = now();
        await inFlight(count, (i) => queue.add('setup', job(i, bytes, '')));
        say({ seconds: (now() - began) / 1000 });
    },

    async work({ count }) {
        let left = count;
        const worker = new Worker(QUEUE, async () => ({}), {
            connection,
            concurrency: IN_FLIGHT,
            autorun: false,
            ...kept,
        });
        const done = new Promise((resolve) => {
            worker.on('completed', () => {
                if (--left === 0) resolve();
            });
        });
        await worker.waitUntilReady();
        const began = now();
        const running = worker.run();
        await done;
        const seconds = (now() - began) / 1000;
        await worker.close();
        await running;
        say({ seconds });
    },

    // Takes `count` jobs, and tells how many ms each was under way.
    async hear({ count }) {
        const latencies = [];
        let heardAll;
        const all = new Promise((resolve) => {
            heardAll = resolve;
        });
        const take = async ({ data }) => {
            latencies.push(now() - Number.parseFloat(data.secrets));
            if (latencies.length === count) heardAll();
            return {};
        };
        const worker = new Worker(QUEUE, take, { connection, concurrency: IN_FLIGHT, ...kept });
        await worker.waitUntilReady();
        say({});
        await all;
        await worker.close();
        say({ ms: latencies });
    },

    // Adds a job every `every` ms, and notes in each when that was.
    async pace({ count, every, bytes }) {
        const began = now();
        for (let i = 0; i < count; i++) {
            await sleep(Math.max(0, began + i * every - now()));
            await queue.add('setup', job(i, bytes, String(now())));
        }
        say({});
    },
};

await once(connection, 'ready');
queue = new Queue(QUEUE, { connection });
await queue.waitUntilReady();
const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)));
say({ name: `BullMQ ${dependencies.bullmq} with ioredis ${dependencies.ioredis} on Node.js ${process.versions.node}` });
for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    await commands[command.do](command);
}
await queue.close();
connection.disconnect();
