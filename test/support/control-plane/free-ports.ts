import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

// Below 32768, where Linux starts to assign client ports. Otherwise, a client connection could use the port of a server
// that restarts.
const FIRST = 20_000;
const END = 32_768;
const ATTEMPTS = 200;

/** Different ports of 127.0.0.1 that are currently free. They are not reserved. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const held = new Map<number, Server>();
  try {
    for (let attempt = 0; held.size < count; attempt += 1) {
      if (attempt === ATTEMPTS) throw new Error(`no ${count} free ports found from ${FIRST} to ${END - 1}`);
      const port = randomInt(FIRST, END);
      const server = held.has(port) ? undefined : await listen(port);
      if (server !== undefined) held.set(port, server);
    }
    return [...held.keys()];
  } finally {
    for (const server of held.values()) {
      server.close();
      await once(server, 'close');
    }
  }
}

/** A port of 127.0.0.1 that is currently free, as are those at these distances from it. */
export async function freePortWith(distances: readonly number[]): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = randomInt(FIRST - Math.min(0, ...distances), END - Math.max(0, ...distances));
    if (await areFree([port, ...distances.map((distance) => port + distance)])) return port;
  }
  throw new Error(`no port with free ports at ${distances.join(', ')} found from ${FIRST} to ${END - 1}`);
}

async function areFree(ports: readonly number[]): Promise<boolean> {
  const servers = (await Promise.all(ports.map(listen))).filter((server) => server !== undefined);
  for (const server of servers) {
    server.close();
    await once(server, 'close');
  }
  return servers.length === ports.length;
}

async function listen(port: number): Promise<Server | undefined> {
  const server = createServer().listen({ port, host: '127.0.0.1', exclusive: true });
  try {
    await once(server, 'listening');
    return server;
  } catch {
    return undefined;
  }
}
