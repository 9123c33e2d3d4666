import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/runtime/clock.ts';
import { RegistryError } from '../../../../src/sources/registry-source/protocol.ts';
import { Session } from '../../../../src/sources/zookeeper/session.ts';
import { MessageSplitter, MessageWriter, OPERATION } from '../../../../src/sources/zookeeper/wire.ts';

const message = (text: string) => new MessageWriter().int(7).text(text).message();

/** What a splitter makes of the bytes, in chunks of this size. */
function split(bytes: Buffer, size: number, limit = 1000): readonly string[] {
  const found: string[] = [];
  const splitter = new MessageSplitter({
    accepts(head, length) {
      if (length <= limit) return true;
      found.push(`skipped ${head.int()}`);
      return false;
    },
    received(one) {
      one.int();
      found.push(one.buffer().toString());
    },
  });
  for (let at = 0; at < bytes.length; at += size) splitter.push(bytes.subarray(at, at + size));
  expect(splitter.isMidway).toBe(false);
  return found;
}

describe('a stream of messages', () => {
  it.each([1, 2, 3, 5, 19, 20, 21, 1000, 10_000])('is split, whatever its chunks: of %i bytes', (size) => {
    const bytes = Buffer.concat([message('a'), message(''), message('x'.repeat(900)), message('b')]);
    expect(split(bytes, size)).toEqual(['a', '', 'x'.repeat(900), 'b']);
  });

  it.each([1, 3, 20, 21, 10_000])('loses only messages that are too large: chunks of %i bytes', (size) => {
    const bytes = Buffer.concat([message('a'), message('x'.repeat(5000)), message('b')]);
    expect(split(bytes, size)).toEqual(['a', 'skipped 7', 'b']);
  });

  it.each([0, -1, 2 ** 31 - 1])('is not one of ZooKeeper with a length of %i', (length) => {
    expect(() => split(new MessageWriter().int(length).message().subarray(4), 4)).toThrow('length');
  });
});

describe('a session', () => {
  let answer: (socket: Socket, chunk: Buffer) => void;
  const sockets = new Set<Socket>();
  const closing = new AbortController();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => answer(socket, chunk));
  });
  const open = (timeoutMs = 1000) =>
    Session.open({
      server: new URL(`zookeeper://127.0.0.1:${(server.address() as AddressInfo).port}`),
      digest: undefined,
      timeoutMs,
      clock: systemClock,
      closing: closing.signal,
    });
  const begun = (isReadOnly = false) =>
    new MessageWriter().int(0).int(10_000).long(1n).buffer(Buffer.alloc(16)).bool(isReadOnly).message();
  const reply = (number: number, failure = 0) =>
    new MessageWriter().int(number).long(1n).int(failure).message();

  beforeEach(async () => {
    if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening');
  });

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    server.unref();
  });

  /** Begins the session, and answers the first sync. */
  function working(then: (socket: Socket, number: number) => void): void {
    answer = (socket, chunk) => {
      const isFirst = chunk.readInt32BE() > 40;
      if (isFirst) socket.write(begun());
      else if (chunk.readInt32BE(8) === OPERATION.sync) socket.write(reply(chunk.readInt32BE(4)));
      else then(socket, chunk.readInt32BE(4));
    };
  }

  const read = (session: Session) =>
    session.send({ operation: OPERATION.getData, path: '/a', watcher: undefined });

  it('is not begun with a read-only server', async () => {
    answer = (socket) => socket.write(begun(true));
    await expect(open()).rejects.toThrow('read-only');
  });

  it('is not begun with a server that does not answer', async () => {
    answer = () => undefined;
    await expect(open(50)).rejects.toThrow('did not answer within 50 ms');
  });

  it('ends when a request is not answered in time', async () => {
    working(() => undefined);
    const session = await open(100);
    await expect(read(session)).rejects.toThrow('did not answer within 100 ms');
    expect(session.ended.aborted).toBe(true);
    await expect(read(session)).rejects.toThrow('did not answer');
  });

  it('continues after a reply that is too large', async () => {
    working((socket, number) => {
      const large = new MessageWriter().int(number).long(1n).int(0).buffer(Buffer.alloc(100_000));
      socket.write(number === 2 ? large.message() : reply(number));
    });
    const session = await open();
    await expect(read(session)).rejects.toMatchObject({ scope: 'service', reason: 'InvalidAnswer' });
    expect(await read(session)).toMatchObject({ failure: 0 });
    closing.abort();
    expect(session.ended.aborted).toBe(true);
  });

  it('ends after a reply to another request', async () => {
    working((socket, number) => socket.write(reply(number + 1)));
    await expect(read(await open())).rejects.toThrow('not valid for ZooKeeper');
  });

  it('rejects with an error of its own whatever bytes arrive', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), fc.boolean(), async (bytes, isBegun) => {
        answer = (socket) => {
          socket.write(Buffer.concat([isBegun ? begun() : Buffer.alloc(0), bytes]));
          socket.end();
        };
        await expect(open().then(read)).rejects.toBeInstanceOf(RegistryError);
      }),
      { numRuns: 300 },
    );
  });
});
