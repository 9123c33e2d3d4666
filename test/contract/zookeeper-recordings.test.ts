import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Endpoint } from '../../src/model/endpoint.ts';
import { FORMATS } from '../../src/sources/zookeeper/formats.ts';
import { endpointsOf } from '../../src/sources/zookeeper/instances.ts';
import { DEFAULT_PATHS, type ZooKeeperFormat } from '../../src/sources/zookeeper/schema.ts';
import { readRecording } from '../support/registries/recording.ts';

const nodes = z.array(z.object({ path: z.string(), data: z.string() }));

/** What a service has in the nodes that a real client left behind, by format. */
async function read(
  recording: string,
  format: ZooKeeperFormat,
  service: string,
  after: string,
): Promise<readonly Endpoint[]> {
  const { answers } = await readRecording(recording);
  const answer = answers.find((one) => one.after === after);
  const { nodeOf, ofData, ofName } = FORMATS[format];
  const parent = `${DEFAULT_PATHS[format]}/${nodeOf(service)}/`;
  const instances = nodes.parse(answer?.body).flatMap(({ path, data }) => {
    const name = path.slice(parent.length);
    if (!path.startsWith(parent) || name.includes('/')) return [];
    return ofName?.(name) ?? ofData?.(Buffer.from(data)) ?? [];
  });
  return endpointsOf(instances);
}

function shown({ address, port, ready, terminating, weight }: Endpoint): string {
  const state = terminating ? 'leaving' : ready ? 'ready' : 'not ready';
  return `${address} ${port ?? 'no port'}, ${state}, weight ${weight}`;
}

describe('instances of Curator', () => {
  const client = 'zookeeper-curator-client';

  it('are read with their ports, payloads and states', async () => {
    expect((await read(client, 'Curator', 'orders', 'register')).map(shown).sort()).toEqual([
      '198.51.100.1 8080, ready, weight 20',
      '198.51.100.11 8080, ready, weight 1',
      '198.51.100.12 8080, ready, weight 1',
      '198.51.100.3 8080, leaving, weight 1',
      '198.51.100.4 8080, ready, weight 1',
      '198.51.100.6 8443, ready, weight 1',
      '198.51.100.7 no port, ready, weight 1',
      '2001:db8::1 8080, ready, weight 1',
      'orders.example.com 8080, ready, weight 1',
    ]);
  });

  it('have the entries of a payload that is a map as metadata', async () => {
    const [first] = await read(client, 'Curator', 'orders', 'register');
    expect(first?.metadata).toEqual({ version: '2', weight: '20', zone: 'a' });
  });

  it('of a service below another one, or with a longer name, are others', async () => {
    expect((await read(client, 'Curator', 'orders/nested', 'register')).map(shown)).toEqual([
      '198.51.100.10 8080, ready, weight 1',
    ]);
    expect(await read(client, 'Curator', 'orders-canary', 'register')).toHaveLength(1);
  });

  it('are gone once they are deregistered', async () => {
    const left = (await read(client, 'Curator', 'orders', 'deregister')).map(({ address }) => address);
    expect(left).toHaveLength(8);
    expect(left).not.toContain('198.51.100.1');
  });
});

describe('instances of Spring Cloud', () => {
  const client = 'zookeeper-spring-client';

  it('are read with their metadata, and leave once they are out of service', async () => {
    const found = await read(client, 'Curator', 'orders', 'register');
    expect(found.map(shown)).toEqual([
      '198.51.100.1 8080, ready, weight 20',
      '2001:db8::1 8080, ready, weight 1',
      'orders.example.com 8080, leaving, weight 1',
    ]);
    expect(found[0]?.metadata).toMatchObject({ version: '2' });
  });
});

describe('instances of Dubbo', () => {
  const client = 'zookeeper-dubbo-client';

  it('are read by application', async () => {
    expect((await read(client, 'DubboApplication', 'orders', 'register')).map(shown)).toEqual([
      '198.51.100.1 20880, ready, weight 1',
      '2001:db8::2 20880, ready, weight 1',
    ]);
    expect((await read(client, 'DubboApplication', 'orders', 'deregister')).map(shown)).toEqual([
      '2001:db8::2 20880, ready, weight 1',
    ]);
  });

  it('are read by interface, with weight, and leave while they are disabled', async () => {
    const found = await read(client, 'DubboInterface', 'com.example.OrderService', 'register');
    expect(found).toHaveLength(12);
    expect(found.map(shown)).toEqual(
      expect.arrayContaining([
        '2001:db8::2 20880, ready, weight 1',
        '198.51.100.1 20880, ready, weight 0.2',
        '198.51.100.3 20880, leaving, weight 1',
      ]),
    );
    const states = found.map(({ metadata, terminating }) => [
      metadata?.['disabled'] ?? 'false',
      `${terminating}`,
    ]);
    for (const [disabled, terminating] of states) expect(terminating).toBe(disabled);
  });

  it('have their group and version as metadata', async () => {
    const found = await read(client, 'DubboInterface', 'com.example.OrderService', 'register');
    const grouped = found.filter(({ metadata }) => metadata?.['group'] === 'shop');
    expect(grouped).toHaveLength(2);
    for (const { metadata } of grouped) expect(metadata).toMatchObject({ version: '2.0.0' });
  });
});
