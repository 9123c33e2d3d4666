import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/model/endpoint.ts';
import { consul } from '../../src/sources/consul/registry-type.ts';
import { consulBackend, consulRegistry } from '../../src/sources/consul/schema.ts';
import { nacos } from '../../src/sources/nacos/registry-type.ts';
import { nacosRegistry } from '../../src/sources/nacos/schema.ts';
import { endpointsInConsulAnswer } from '../support/registries/consul-answer.ts';
import { type Recording, readRecording } from '../support/registries/recording.ts';

const CONSUL = consulRegistry.parse({ servers: ['http://consul:8500'] });
const NACOS = nacosRegistry.parse({ servers: ['http://nacos:8848'] });

type Answer = Recording['answers'][number];

const sorted = (endpoints: readonly Endpoint[]) =>
  endpoints.map((endpoint) => JSON.stringify(endpoint)).sort();
const titleOf = ({ service, path = '', after }: Answer) => `${service} after ${after} ${path}`;

/** `plan --registry-state` takes these answers. */
describe('a saved answer of Consul', async () => {
  const answers = (
    await Promise.all(['consul-go-client', 'consul-spring-client'].map(readRecording))
  ).flatMap((recording) => recording.answers);

  it.each(answers.map((answer) => [titleOf(answer), answer] as const))(
    'gives the endpoints that the source reads: %s',
    async (_, { service, headers, body }) => {
      const choices = [{}, { healthy: 'PassingOrWarning' }, { address: 'Wan' }, { tags: ['v2'] }];
      const saved = consul.saved.read(body, { service, section: CONSUL });
      for (const options of choices.map((choice) => consulBackend.parse(choice))) {
        const read = await endpointsInConsulAnswer({ headers, body: JSON.stringify(body) }, options);
        expect(sorted(saved?.endpoints(options) ?? [])).toEqual(sorted(read));
      }
      expect(saved?.count).toBe((body as readonly unknown[]).length);
    },
  );
});

describe('a saved answer of Nacos', async () => {
  const answers = (
    await Promise.all(['nacos-java-client', 'nacos-spring-client'].map(readRecording))
  ).flatMap((recording) => recording.answers);
  const byService = Map.groupBy(answers, ({ service, after }) => `${service} ${after}`);

  it.each(answers.map((answer) => [titleOf(answer), answer] as const))(
    'is read: %s',
    (_, { service, body }) => {
      expect(nacos.saved.read(body, { service, section: NACOS })).toBeDefined();
    },
  );

  it.each([...byService])('has the same instances in every list for clients: %s', (_, group) => {
    const lists = group.filter(
      ({ path = '' }) => path.endsWith('/ns/instance/list') && !path.includes('/admin/'),
    );
    const [first = [], ...others] = lists.map(({ service, body }) =>
      sorted(nacos.saved.read(body, { service, section: NACOS })?.endpoints(undefined) ?? []),
    );
    for (const other of others) expect(other).toEqual(first);
  });
});
