import { connectionPath, GROUP_PATH } from '../test/support/workload.ts';
import type { Fault } from './fault.ts';
import type { Random } from './random.ts';
import type { Site } from './site.ts';

/** Attempts of one namespace owner to stop or slow other tenants. The judge and each checkpoint check the other tenants. */

const namespaceOf = (site: Site): string => `${site.name}-hostile`;
const upstreamsOf = (site: Site): string => `${GROUP_PATH}/namespaces/${namespaceOf(site)}/gatewayupstreams`;

/** Deeper than a recursive comparison can handle, and less deep than the API server rejects. */
const DEPTH = 3000;
/** The number of seven-level lists in one list: 300 kB. With four times as many, the API server itself took 8 GiB. */
const WIDTH = 20_000;
/** Each of these objects took the operator a tenth of a second every time it was read. */
const WIDE_UPSTREAMS = 20;
/** The number of objects whose connection does not exist. */
const UNKNOWN_CONNECTIONS = 60;
/** A backtracking engine takes exponential time if a name does not match. */
const SLOW_PATTERN = '^([a-z0-9]{1,20}-?)+_$';

async function makeHostile(site: Site, name: string, spec: object): Promise<void> {
  await site.api.create('/api/v1/namespaces', { metadata: { name: namespaceOf(site) } });
  await site.api.create(upstreamsOf(site), {
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'GatewayUpstream',
    metadata: { name },
    spec: {
      connectionRef: { name: site.name },
      backends: [{ serviceRef: { name: 'hostile', port: 80 } }],
      ...spec,
    },
  });
}

const removeHostile = (site: Site, name: string): Promise<void> =>
  site.api.remove(`${upstreamsOf(site)}/${name}`);

function nested(depth: number): unknown {
  let value: unknown = 'deep';
  for (let level = 0; level < depth; level += 1) value = [value];
  return value;
}

const uniqueName = (what: string, random: Random): string => `${what}-${random.between(0, 1e9)}`;

export const HOSTILE_FAULTS: readonly Fault[] = [
  {
    name: 'tenant writes a deeply nested object',
    weight: 4,
    place: 'tenant nests',
    async strike(site, random) {
      const name = uniqueName('deep', random);
      await makeHostile(site, name, { apisix: { overrides: { x: nested(DEPTH) } } });
      // A new list is compared with the cache, including the nested value.
      for (const replica of site.replicas) replica.proxy.cutAll();
      return {
        detail: name,
        steps: random.between(3, 20),
        heal: () => removeHostile(site, name),
      };
    },
  },
  {
    name: 'tenant writes very wide objects',
    weight: 3,
    place: 'tenant spreads',
    async strike(site, random) {
      const names = Array.from({ length: WIDE_UPSTREAMS }, () => uniqueName('wide', random));
      const overrides = { x: Array.from({ length: WIDTH }, () => [[[[[[[]]]]]]]) };
      for (const name of names) await makeHostile(site, name, { apisix: { overrides } });
      // The next list contains all of them.
      for (const replica of site.replicas) replica.proxy.cutAll();
      return {
        detail: `${names.length} objects`,
        steps: random.between(3, 10),
        async heal() {
          await Promise.all(names.map((name) => removeHostile(site, name)));
        },
      };
    },
  },
  {
    name: 'tenant triggers a firewall',
    weight: 4,
    place: 'tenant firewall',
    async strike(site, random) {
      const name = uniqueName('refused', random);
      const id = `${namespaceOf(site)}.${name}`;
      site.model.owned.add(id);
      await site.api.create('/api/v1/namespaces', { metadata: { name: namespaceOf(site) } });
      await site.api.create(`/api/v1/namespaces/${namespaceOf(site)}/services`, {
        metadata: { name: 'hostile' },
        spec: { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] },
      });
      const rule = site.gateway.addFault({
        fault: {
          kind: 'answer',
          status: 403,
          contentType: 'text/html',
          body: '<html><body>blocked</body></html>',
        },
        match: ({ method, path }) => method === 'PUT' && path.endsWith(`/${id}`),
      });
      await makeHostile(site, name, { description: '<script>alert(1)</script>' });
      return {
        detail: id,
        steps: random.between(3, 20),
        async heal() {
          rule[Symbol.dispose]();
          await removeHostile(site, name);
        },
      };
    },
  },
  {
    name: 'tenant makes a pattern backtrack',
    weight: 3,
    place: 'tenant pattern',
    async strike(site, random) {
      const name = `${'a'.repeat(50)}-${random.between(0, 1e9)}`;
      const path = connectionPath(site.name);
      await site.api.patch(path, { spec: { allowedNamespaces: { notMatch: [SLOW_PATTERN] } } });
      await site.api.create('/api/v1/namespaces', { metadata: { name } });
      const collection = `${GROUP_PATH}/namespaces/${name}/gatewayupstreams`;
      await site.api.create(collection, {
        apiVersion: 'gatewayupstream.dev/v1alpha1',
        kind: 'GatewayUpstream',
        metadata: { name: 'slow' },
        spec: {
          connectionRef: { name: site.name },
          backends: [{ serviceRef: { name: 'none', port: 80 } }],
        },
      });
      return {
        detail: name,
        steps: random.between(2, 10),
        async heal() {
          await site.api.patch(path, { spec: { allowedNamespaces: { notMatch: null } } });
          await site.api.remove(`${collection}/slow`);
          await site.api.remove(`/api/v1/namespaces/${name}`);
        },
      };
    },
  },
  {
    name: 'tenant refers to connections that do not exist',
    weight: 3,
    place: 'tenant connections',
    async strike(site, random) {
      const names = Array.from({ length: UNKNOWN_CONNECTIONS }, () => uniqueName('nowhere', random));
      await Promise.all(
        names.map((name) => makeHostile(site, name, { connectionRef: { name: `${name}-connection` } })),
      );
      return {
        detail: `${names.length} objects`,
        steps: random.between(2, 10),
        async heal() {
          await Promise.all(names.map((name) => removeHostile(site, name)));
        },
      };
    },
  },
];
