import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/model/endpoint.ts';
import { eureka } from '../../src/sources/eureka/registry-type.ts';
import { type EurekaBackend, eurekaBackend, eurekaRegistry } from '../../src/sources/eureka/schema.ts';
import { readRecording } from '../support/registries/recording.ts';

const EUREKA = eurekaRegistry.parse({ servers: ['http://eureka:8761/eureka'] });

/** What a backend with `options` gets of the answer that was recorded `after` a step. */
async function read(
  service: string,
  after: string,
  options: EurekaBackend = {},
): Promise<readonly Endpoint[]> {
  const { answers } = await readRecording('eureka-spring-client');
  const answer = answers.find((one) => one.service === service && one.after === after);
  const saved = eureka.saved.read(answer?.body, { service, section: EUREKA });
  if (saved === undefined) throw new Error(`no answer for ${service} after ${after}`);
  return saved.endpoints(eurekaBackend.parse(options));
}

function shown({ address, port, ready, terminating, weight }: Endpoint): string {
  const state = terminating ? 'leaving' : ready ? 'ready' : 'not ready';
  return `${address} ${port ?? 'no port'}, ${state}, weight ${weight}`;
}

describe('an application with Spring Cloud Netflix', () => {
  it('is ready, and leaves once it is taken out of service', async () => {
    expect((await read('shop', 'it started')).map(shown)).toEqual(['198.51.100.80 8080, ready, weight 3']);
    expect((await read('shop', 'it was taken out of service')).map(shown)).toEqual([
      '198.51.100.80 8080, leaving, weight 3',
    ]);
  });

  it('has metadata', async () => {
    const [instance] = await read('shop', 'it started');
    expect(instance?.metadata).toMatchObject({ version: '1', weight: '3' });
  });

  it('is used with its secure port if it has enabled only that one', async () => {
    expect((await read('secure-shop', 'it started')).map(shown)).toEqual([
      '198.51.100.81 8443, ready, weight 3',
    ]);
    expect((await read('secure-shop', 'it started', { port: 'Plain' }))[0]?.port).toBeUndefined();
  });

  it('is used with its host name if the backend asks for it', async () => {
    const [instance] = await read('shop', 'it started', { address: 'HostName' });
    expect(instance).toMatchObject({ address: 'shop.example.com' });
    expect(instance?.family).toBeUndefined();
  });
});
