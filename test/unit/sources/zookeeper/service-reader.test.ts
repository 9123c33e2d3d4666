import { describe, expect, it } from 'vitest';
import { FORMATS } from '../../../../src/sources/zookeeper/formats.ts';
import { ServiceReader } from '../../../../src/sources/zookeeper/service-reader.ts';
import type { Reply, Request, Session } from '../../../../src/sources/zookeeper/session.ts';
import { MessageReader, MessageWriter, OPERATION } from '../../../../src/sources/zookeeper/wire.ts';

/** A session that answers when the test says so. */
class FakeSession implements Pick<Session, 'ended' | 'send'> {
  readonly ended = new AbortController().signal;
  readonly nodes = new Map<string, string>();
  readonly waiting: (() => void)[] = [];

  send({ operation, path }: Request): Promise<Reply> {
    return new Promise((resolve) => {
      this.waiting.push(() => resolve({ failure: 0, body: this.#body(operation, path) }));
    });
  }

  /** Answers everything that is asked, also meanwhile. */
  async answerAll(): Promise<void> {
    for (let answer = this.waiting.shift(); answer !== undefined; answer = this.waiting.shift()) {
      answer();
      await new Promise(setImmediate);
    }
  }

  #body(operation: number, path: string): MessageReader {
    const body = new MessageWriter();
    if (operation === OPERATION.getChildren) {
      body.int(this.nodes.size);
      for (const name of this.nodes.keys()) body.text(name);
    } else body.text(JSON.stringify({ address: this.nodes.get(path.split('/').at(-1) ?? '') }));
    return new MessageReader(Buffer.concat([body.message().subarray(4), Buffer.alloc(68)]));
  }
}

describe('a read of a service', () => {
  const setUp = () => {
    const session = new FakeSession();
    const reader = new ServiceReader(session as never, '/services/web', FORMATS.Curator, 0);
    return { session, reader };
  };
  const addresses = (instances: readonly { readonly address: string }[]) =>
    instances.map(({ address }) => address);

  it('that was given up does not make the next one partial', async () => {
    const { session, reader } = setUp();
    session.nodes.set('a', '10.0.0.1').set('b', '10.0.0.2');
    const givenUp = reader.read();
    await new Promise(setImmediate);
    session.waiting.shift()?.();
    await new Promise(setImmediate);
    // The entries are asked for, and not answered yet.
    const next = reader.read();
    await session.answerAll();
    expect(addresses(await next)).toEqual(['10.0.0.1', '10.0.0.2']);
    expect(addresses(await givenUp)).toEqual(['10.0.0.1', '10.0.0.2']);
  });

  it('that was given up is noticed, although nothing has changed since', async () => {
    const { session, reader } = setUp();
    session.nodes.set('a', '10.0.0.1');
    const first = reader.read();
    await new Promise(setImmediate);
    await session.answerAll();
    await first;
    const { reads } = reader;
    session.nodes.set('a', '10.0.0.9');
    reader.changed('/services/web/a');
    void reader.read();
    await new Promise(setImmediate);
    await session.answerAll();
    expect(reader.isChanged).toBe(false);
    expect(reader.reads).not.toBe(reads);
  });

  it('repeats what has changed meanwhile', async () => {
    const { session, reader } = setUp();
    session.nodes.set('a', '10.0.0.1');
    const reading = reader.read();
    await new Promise(setImmediate);
    session.waiting.shift()?.();
    await new Promise(setImmediate);
    session.nodes.delete('a');
    session.nodes.set('b', '10.0.0.2');
    reader.changed('/services/web');
    await session.answerAll();
    expect(addresses(await reading)).toEqual(['10.0.0.2']);
  });
});
