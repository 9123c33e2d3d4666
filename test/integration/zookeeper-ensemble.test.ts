import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { zooKeeper } from '../../src/sources/zookeeper/registry-type.ts';
import { freePorts } from '../support/control-plane/free-ports.ts';
import { eventually } from '../support/eventually.ts';
import { quietLogger } from '../support/registries/quiet-logger.ts';
import { curatorData, ZOOKEEPER_READER, ZooKeeperServer } from '../support/registries/zookeeper-server.ts';

const PATH = '/services/web';

describe('an ensemble of three members', () => {
  const started = new AsyncDisposableStack();
  let members: readonly ZooKeeperServer[];

  beforeAll(async () => {
    const ports = await freePorts(9);
    const ids = [0, 1, 2];
    const ensemble = ids.map(
      (id) => `server.${id + 1}=127.0.0.1:${ports[3 + id]}:${ports[6 + id]};127.0.0.1:${ports[id]}`,
    );
    members = await Promise.all(
      ids.map((id) => ZooKeeperServer.create({ id: id + 1, clientPort: ports[id] ?? 0, ensemble })),
    );
    for (const member of members) started.use(member);
    await Promise.all(members.map((member) => member.start()));
  }, 900_000);

  afterAll(() => started.disposeAsync());

  /** Registers through any member that works. */
  async function register(address: string, member: ZooKeeperServer | undefined): Promise<void> {
    await member?.writer.replace(PATH, new Map([['a', curatorData('web', { address })]]));
  }

  it('loses members: another one is used, a frozen one is noticed, and a minority is not used', async () => {
    const source = zooKeeper.create({
      name: 'zookeeper',
      section: {
        servers: members.map(({ address }) => address),
        usernameSecretRef: { name: 'zookeeper', key: 'username' },
        passwordSecretRef: { name: 'zookeeper', key: 'password' },
        format: 'Curator',
      },
      secret: ({ key }) => ({ ok: true, value: ZOOKEEPER_READER[key as keyof typeof ZOOKEEPER_READER] }),
      onSecretsChange: () => ({ [Symbol.dispose]: () => undefined }),
      limits: {
        concurrentQueries: 10,
        requestsPerSecond: undefined,
        requestTimeoutMs: 1000,
        pollIntervalMs: 1000,
      },
      observer: { requested: () => undefined, failed: () => undefined, changed: () => undefined },
      clock: systemClock,
      // The first member is used first.
      random: () => 0,
      log: quietLogger,
    });
    const stop = new AbortController();
    const running = source.run(stop.signal);
    try {
      const query = { service: 'web', options: undefined };
      using _followed = source.subscribe(query, () => undefined);
      const shows = (address: string) =>
        eventually(() =>
          expect(source.read(query)).toMatchObject({ state: 'known', endpoints: [{ address }] }),
        );
      const [first, second, third] = members;
      await register('10.2.0.1', third);
      await shows('10.2.0.1');

      first?.signal('SIGSTOP');
      await register('10.2.0.2', third);
      await shows('10.2.0.2');

      // The first member still has its connections, and no majority is left.
      await third?.kill();
      await eventually(() => expect(source.read(query).state).toBe('unknown'), { timeoutMs: 30_000 });

      first?.signal('SIGCONT');
      await eventually(async () => register('10.2.0.3', second), { timeoutMs: 60_000 });
      await shows('10.2.0.3');
    } finally {
      members[0]?.signal('SIGCONT');
      stop.abort();
      await running;
    }
  });
});
