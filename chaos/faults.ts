import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault as GatewayFault } from '../test/support/apisix-stand-in/stand-in.ts';
import type { Component } from '../test/support/control-plane/component.ts';
import { writeSecret } from '../test/support/workload.ts';
import { CONTENT_FAULTS } from './content-faults.ts';
import type { Fault, Trouble } from './fault.ts';
import { HOSTILE_FAULTS } from './hostile-faults.ts';
import type { Random } from './random.ts';
import { REGISTRY_FAULTS } from './registry-faults.ts';
import type { Site } from './site.ts';

function gatewayAnswers(name: string, weight: number, faultOf: (random: Random) => GatewayFault): Fault {
  return {
    name: `gateway ${name}`,
    weight,
    place: 'gateway',
    async strike({ gateway }, random) {
      const fault = faultOf(random);
      // Some faults affect only writes: then the session's probe succeeds.
      const onlyWrites = random.fraction() < 0.3;
      const rule = gateway.addFault({ fault, match: ({ method }) => !onlyWrites || method !== 'GET' });
      return {
        detail: `${JSON.stringify(fault)}${onlyWrites ? ' for writes' : ''}`,
        steps: random.between(2, 12),
        heal: async () => rule[Symbol.dispose](),
      };
    },
  };
}

function componentKilled(name: string, weight: number, componentOf: (site: Site) => Component): Fault {
  return {
    name: `${name} killed`,
    weight,
    place: 'cluster',
    async strike(site, random) {
      const component = componentOf(site);
      const downMs = random.between(0, 1500);
      await component.kill();
      await sleep(downMs);
      await component.start();
      return { detail: `for ${downMs} ms plus startup` };
    },
  };
}

function replicaFault(
  name: string,
  weight: number,
  index: number,
  strike: (site: Site, replica: Site['replicas'][number], random: Random) => Promise<Trouble | undefined>,
): Fault {
  const letter = ['a', 'b'][index];
  return {
    name,
    weight,
    place: `replica ${letter}`,
    async strike(site, random) {
      const replica = site.replicas[index];
      if (replica === undefined) return undefined;
      const trouble = await strike(site, replica, random);
      return trouble && { ...trouble, detail: `${letter}${trouble.detail}` };
    },
  };
}

const eachReplica = (faultOf: (index: number) => readonly Fault[]): readonly Fault[] =>
  [0, 1].flatMap(faultOf);

const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const OPERATOR = 'gateway-upstream-operator';
/** The resources of the ClusterRole's rules. */
const PERMISSIONS = [
  'endpointslices',
  'services',
  'gatewayupstreams',
  'gatewayupstreams/status',
  'gatewayconnections',
  'namespaces',
  'nodes',
  'gatewayupstreamsets',
  'gatewayupstreamsets/status',
];

/** Each role with a resource of one of its rules. */
function rulesOf({ model, operatorNamespace }: Site): readonly (readonly [role: string, resource: string])[] {
  const namespaces = new Set([...model.secrets.values()].map(({ namespace }) => namespace));
  return [
    ...PERMISSIONS.map((resource) => [`${RBAC}/clusterroles/${OPERATOR}`, resource] as const),
    [`${RBAC}/namespaces/${operatorNamespace}/roles/${OPERATOR}`, 'secrets'],
    ...[...namespaces].map(
      (namespace) => [`${RBAC}/namespaces/${namespace}/roles/${OPERATOR}-secrets`, 'secrets'] as const,
    ),
  ];
}

const OPERATOR_FAULTS = eachReplica((index) => [
  replicaFault('operator killed', 4, index, async (_, replica, random) => {
    await replica.kill();
    return { detail: '', steps: random.between(1, 6), heal: () => replica.start() };
  }),
  replicaFault('operator stopped', 1, index, async (_, replica, random) => {
    await replica.stop();
    return { detail: '', steps: random.between(1, 6), heal: () => replica.start() };
  }),
  replicaFault('operator frozen', 4, index, async (_, replica, random) => {
    replica.freeze();
    // Often for longer than the Lease lasts.
    return { detail: '', steps: random.between(3, 60), heal: async () => replica.thaw() };
  }),
  replicaFault('watches cut', 6, index, async (_, { proxy }) => {
    proxy.cutAll();
    return { detail: '' };
  }),
  replicaFault('API server unreachable', 3, index, async (_, { proxy }, random) => {
    const mode = random.pick(['swallow', 'refuse'] as const);
    proxy.setMode(mode);
    if (mode === 'refuse') proxy.cutAll();
    return {
      detail: ` ${mode}`,
      steps: random.between(2, 50),
      heal: async () => {
        proxy.setMode('pass');
        // A connection that lost bytes cannot continue.
        proxy.cutAll();
      },
    };
  }),
]);

export const FAULTS: readonly Fault[] = [
  ...OPERATOR_FAULTS,
  componentKilled('API server', 1, ({ cluster }) => cluster.apiserver),
  componentKilled('etcd', 1, ({ cluster }) => cluster.etcd),
  {
    name: 'gateway refusing connections',
    weight: 5,
    place: 'gateway',
    async strike({ gateway }, random) {
      await gateway.stop();
      return { detail: '', steps: random.between(2, 12), heal: () => gateway.start() };
    },
  },
  gatewayAnswers('slow', 5, (random) => ({ kind: 'delay', delayMs: random.between(100, 800) })),
  gatewayAnswers('slower than requestTimeout', 3, (random) => ({
    kind: 'delay',
    delayMs: random.between(1100, 2000),
  })),
  gatewayAnswers('hanging', 5, (random) =>
    random.fraction() < 0.5 ? { kind: 'hang' } : { kind: 'hang', apply: 'before' },
  ),
  gatewayAnswers('sending half responses', 5, (random) => ({
    kind: 'cut',
    after: random.pick(['headers', 'half-body'] as const),
  })),
  gatewayAnswers('closing connections', 4, (random) =>
    random.fraction() < 0.5 ? { kind: 'cut' } : { kind: 'cut', apply: 'before' },
  ),
  gatewayAnswers('answering 5xx', 5, (random) => ({
    kind: 'answer',
    status: random.pick([500, 502, 503, 504]),
    contentType: 'text/html',
    body: '<html><body><h1>An error occurred.</h1></body></html>',
  })),
  ...CONTENT_FAULTS,
  ...HOSTILE_FAULTS,
  ...REGISTRY_FAULTS,
  {
    name: 'permission removed',
    weight: 6,
    place: 'permissions',
    async strike(site, random) {
      const { api } = site;
      const [path, resource] = random.pick(rulesOf(site));
      const role = (await api.get(path)) as {
        readonly rules: readonly { readonly resources: readonly string[] }[];
      };
      const rules = role.rules.filter(({ resources }) => !resources.includes(resource));
      await api.patch(path, { rules });
      return {
        detail: ` ${resource} of ${path.replace(RBAC, '')}`,
        steps: random.between(2, 15),
        heal: () => api.patch(path, { rules: role.rules }),
      };
    },
  },
  {
    name: 'admin key rotated',
    weight: 3,
    place: 'admin key',
    async strike({ cluster, gateway, operatorNamespace, name }, random) {
      const key = `rotated-${random.between(0, 1e9)}-0123456789`;
      gateway.setAdminKey(key);
      return {
        detail: '',
        steps: random.between(1, 5),
        heal: () => writeSecret(cluster, operatorNamespace, name, { 'admin-key': key }),
      };
    },
  },
];
