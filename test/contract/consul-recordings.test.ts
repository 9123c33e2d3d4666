import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/model/endpoint.ts';
import type { ConsulBackend } from '../../src/sources/consul/schema.ts';
import { endpointsInConsulAnswer } from '../support/registries/consul-answer.ts';
import { readRecording } from '../support/registries/recording.ts';

function shown({ address, port, ready, terminating, weight }: Endpoint): string {
  const state = terminating ? 'leaving' : ready ? 'ready' : 'not ready';
  return `${address} ${port ?? 'no port'}, ${state}, weight ${weight}`;
}

async function read(name: string, service: string, after: string, options: Partial<ConsulBackend> = {}) {
  const { answers } = await readRecording(name);
  const answer = answers.find((one) => one.service === service && one.after === after);
  if (answer === undefined) throw new Error(`${name} has no answer for ${service} after ${after}`);
  return await endpointsInConsulAnswer(
    { headers: answer.headers, body: JSON.stringify(answer.body) },
    options,
  );
}

describe("instances that Consul's Go client registered", () => {
  const of = async (service: string, options: Partial<ConsulBackend> = {}, after = 'register') =>
    (await read('consul-go-client', service, after, options)).map(shown).sort();

  it('takes state and weight from the worst check of each instance', async () => {
    expect(await of('orders')).toEqual([
      '198.51.100.1 8080, ready, weight 10',
      '198.51.100.2 8080, not ready, weight 1',
      '198.51.100.3 8080, not ready, weight 1',
      '198.51.100.4 8080, leaving, weight 1',
    ]);
  });

  it('counts a warning as ready where the backend asks for it', async () => {
    expect(await of('orders', { healthy: 'PassingOrWarning' })).toContain(
      '198.51.100.2 8080, ready, weight 1',
    );
  });

  it('reads tags and metadata', async () => {
    expect(await of('orders', { tags: ['v2', 'canary'] })).toEqual(['198.51.100.1 8080, ready, weight 10']);
    const found = await read('consul-go-client', 'orders', 'register');
    expect(found.find(({ address }) => address === '198.51.100.1')?.metadata).toEqual({
      version: '2',
      zone: 'a',
      metrics_port: '9100',
    });
  });

  it('uses the address of the node, and no port, for an instance that has neither', async () => {
    expect(await of('bare')).toEqual(['127.0.0.1 no port, ready, weight 1']);
    expect(await of('external')).toEqual(['198.51.100.40 5432, ready, weight 1']);
    expect(await of('external', { address: 'Wan' })).toEqual(['198.51.100.40 5432, ready, weight 1']);
  });

  it('uses the tagged address with its port where the backend asks for it', async () => {
    expect(await of('tagged')).toEqual(['198.51.100.10 8080, ready, weight 1']);
    expect(await of('tagged', { address: 'Lan' })).toEqual(['192.0.2.10 9090, ready, weight 1']);
    expect(await of('tagged', { address: 'Wan' })).toEqual(['203.0.113.10 443, ready, weight 1']);
    expect(await of('orders', { address: 'Wan' })).toContain('198.51.100.1 8080, ready, weight 10');
  });

  it('reads IPv6 addresses', async () => {
    expect(await of('ipv6')).toEqual(['2001:db8::1 8080, ready, weight 1']);
  });

  it('reads two instances on one address', async () => {
    expect(await of('two-ports')).toEqual([
      '198.51.100.20 8080, ready, weight 1',
      '198.51.100.20 8081, ready, weight 1',
    ]);
  });

  it('finds no instance after a deregistration, or without a registration', async () => {
    expect(await of('left')).toEqual([]);
    expect(await of('never')).toEqual([]);
  });

  it('treats every instance of a node in maintenance as leaving', async () => {
    expect(await of('tagged', {}, 'node-maintenance')).toEqual(['198.51.100.10 8080, leaving, weight 1']);
  });
});

describe('instances that Spring Cloud Consul registered', () => {
  it('reads an application with heartbeats, and its metadata', async () => {
    const found = await read('consul-spring-client', 'by-address', 'it started, with heartbeats');
    expect(found.map(shown)).toEqual(['198.51.100.50 8080, ready, weight 1']);
    expect(found[0]?.metadata).toEqual({ secure: 'false', version: '1', zone: 'a' });
    expect(
      await read('consul-spring-client', 'by-address', 'it started, with heartbeats', { tags: ['team=a'] }),
    ).toHaveLength(1);
  });

  it('finds no instance after the application was shut down', async () => {
    expect(await read('consul-spring-client', 'by-address', 'it was shut down')).toEqual([]);
  });
});
