import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeMissing, describePermission, type Permission } from '../../src/kube/permissions.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { permissionsOf } from '../support/catalog.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installReferenceGrants } from '../support/gateway-api.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { runProgram } from '../support/program.ts';
import {
  conditionOf,
  connectionPath,
  createWorkload,
  type Workload,
  writeSecret,
} from '../support/workload.ts';

/** A separate control plane, because `check` examines every GatewayConnection. */
let cluster: ControlPlane;

beforeAll(async () => {
  cluster = await startControlPlane();
});

afterAll(() => cluster?.close());

const WITHIN_A_MINUTE = { timeoutMs: 60_000, intervalMs: 100 };
const CONNECTION = 'permissions';
const LEADS = '"msg":"became the leader"';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** The permissions of the operator. The namespace is set later. */
const permissions = (namespace: string) => permissionsOf({ namespace });
const named = permissions('NAMESPACE').map(
  (permission, index) => [describePermission(permission), index] as const,
);
const isLease = ({ resource }: Permission) => resource === 'leases';
const leaseRights = named.filter(([, index]) =>
  permissions('NAMESPACE')
    .slice(index, index + 1)
    .some(isLease),
);
const otherRights = named.filter((right) => !leaseRights.includes(right));

describe('a permission that is removed while the operator runs', () => {
  let namespace: string;
  let token: string;
  let gateway: StandIn;
  let work: Workload;

  const permissionAt = (index: number): Permission => {
    const permission = permissions(namespace)[index];
    if (permission === undefined) throw new Error(`there is no permission ${index}`);
    return permission;
  };

  const rolePath = ({ grantedBy: { kind, name, namespace: where } }: Permission) =>
    `/apis/rbac.authorization.k8s.io/v1${where === undefined ? '' : `/namespaces/${where}`}/${kind.toLowerCase()}s/${name}`;

  /** Removes one verb from the rule that grants it. Resolves to a function that restores it. */
  const takeAway = async (permission: Permission): Promise<() => Promise<void>> => {
    const path = rolePath(permission);
    const { rules } = (await work.get(path)) as { readonly rules: readonly Rule[] };
    const { group, resource, subresource, verb } = permission;
    const full = subresource === undefined ? resource : `${resource}/${subresource}`;
    let taken = 0;
    const left = rules.flatMap((rule) => {
      if (!rule.apiGroups.includes(group) || !rule.resources.includes(full) || !rule.verbs.includes(verb)) {
        return [rule];
      }
      expect(rule.resources).toEqual([full]);
      taken += 1;
      const verbs = rule.verbs.filter((one) => one !== verb);
      return verbs.length === 0 ? [] : [{ ...rule, verbs }];
    });
    expect(taken).toBe(1);
    await work.patch(path, { rules: left });
    return () => work.patch(path, { rules });
  };

  const start = (leaderElection: object) =>
    startOperator(cluster, namespace, token, {
      requestTimeout: '2s',
      permissionCheckInterval: '1s',
      leaderElection,
    });

  const problemOf = async (operator: Operator): Promise<string | undefined> => {
    const { text } = await operator.readyz();
    return /^\[-\]permissions failed: (.*)$/m.exec(text)?.[1];
  };

  const readyOf = async (path: string) => conditionOf(await work.get(path), 'Ready');

  /** The failed permissions and the exit code of `check` with the operator's token. */
  const checked = async () => {
    const kubeconfig = await cluster.kubeconfigFor({ name: `check-${namespace}`, token, namespace });
    const { code, stdout } = await runProgram([
      ...['check', '-o', 'json', '--namespace', namespace, '--kubeconfig', kubeconfig],
    ]);
    const { checks } = JSON.parse(stdout) as {
      readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly message: string }[];
    };
    const failed = checks.filter(({ ok, name }) => !ok && name.startsWith('permission to '));
    return { code, failed: failed.map(({ message }) => message) };
  };

  beforeAll(async () => {
    await installCrds(cluster);
    // A permission for a kind that is not installed is not reported.
    await installReferenceGrants(cluster, 'v1.6.0');
    namespace = await cluster.newNamespace('operator');
    token = await installRbac(cluster, namespace);
    gateway = await startStandIn();
    await writeSecret(cluster, namespace, 'gateway', { 'admin-key': gateway.adminKey });
    work = createWorkload(cluster, await cluster.newNamespace('apps'));
    await work.connection(CONNECTION, { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await work.service('web');
    await work.endpoints('web', ['10.1.0.1']);
    await work.upstream('web', {
      connectionRef: { name: CONNECTION },
      backends: [{ serviceRef: { name: 'web', port: 'http' } }],
    });
  });

  afterAll(async () => {
    await work?.remove(work.upstreamPath('web'));
    await work?.remove(connectionPath(CONNECTION));
    await gateway?.[Symbol.asyncDispose]();
  });

  describe('without leader election', () => {
    let operator: Operator;

    beforeAll(async () => {
      operator = await start({ enabled: false });
      await operator.ready();
    });

    afterAll(async () => {
      await operator?.[Symbol.asyncDispose]();
    });

    it.each(otherRights)(
      'is named by readiness, conditions and check until it is restored: %s',
      async (_, index) => {
        const permission = permissionAt(index);
        const words = describeMissing([permission]);
        const isStatusOf = (resource: string) =>
          permission.resource === resource && permission.subresource === 'status';
        await eventually(async () => {
          expect((await readyOf(work.upstreamPath('web')))?.reason).toBe('Ready');
          expect((await readyOf(connectionPath(CONNECTION)))?.reason).toBe('Ready');
        }, WITHIN_A_MINUTE);

        const putBack = await takeAway(permission);
        try {
          await eventually(async () => expect(await problemOf(operator)).toBe(words), WITHIN_A_MINUTE);
          expect((await operator.readyz()).status).toBe(503);
          const missing = {
            status: 'False',
            reason: 'PermissionMissing',
            message: expect.stringContaining(`${words}. Run \`gateway-upstream-operator install\``),
          };
          // A status that cannot be written does not change, so the test reads the other kind.
          if (!isStatusOf('gatewayconnections')) {
            await eventually(
              async () => expect(await readyOf(connectionPath(CONNECTION))).toMatchObject(missing),
              WITHIN_A_MINUTE,
            );
          }
          if (permission.affects === 'everything' && !isStatusOf('gatewayupstreams')) {
            await eventually(
              async () => expect(await readyOf(work.upstreamPath('web'))).toMatchObject(missing),
              WITHIN_A_MINUTE,
            );
          } else {
            expect((await readyOf(work.upstreamPath('web')))?.reason).toBe('Ready');
          }
          expect(await checked()).toEqual({ code: 1, failed: [words] });
        } finally {
          await putBack();
        }
        await eventually(async () => {
          expect((await operator.readyz()).status).toBe(200);
          expect((await readyOf(work.upstreamPath('web')))?.reason).toBe('Ready');
          expect((await readyOf(connectionPath(CONNECTION)))?.reason).toBe('Ready');
        }, WITHIN_A_MINUTE);
        const lines = operator.output().split('\n');
        expect(lines.filter((line) => line.includes(`"msg":"${words}"`))).toHaveLength(1);
        expect(operator.process.exitCode).toBeNull();
      },
    );

    it('leaves no trace after it is restored', async () => {
      expect(await problemOf(operator)).toBeUndefined();
      expect(await checked()).toEqual({ code: 0, failed: [] });
    });
  });

  it('is reported on an object that was created in the meantime', async () => {
    await using operator = await start({ enabled: false });
    await operator.ready();
    const permission = permissions(namespace).find(
      ({ resource, verb, subresource }) =>
        resource === 'gatewayupstreams' && verb === 'patch' && subresource === undefined,
    );
    if (permission === undefined) throw new Error('there is no such permission');
    const make = async (name: string) => {
      await work.upstream(name, {
        connectionRef: { name: CONNECTION },
        backends: [{ serviceRef: { name: 'web', port: 'http' } }],
      });
      await eventually(
        async () =>
          expect(await readyOf(work.upstreamPath(name))).toMatchObject({
            status: 'False',
            reason: 'PermissionMissing',
            message: expect.stringContaining(describeMissing([permission])),
          }),
        WITHIN_A_MINUTE,
      );
    };
    const held = (name: string) => gateway.get('upstreams', `${work.namespace}.${name}`);
    const putBack = await takeAway(permission);
    try {
      await make('new');
      // The operator writes nothing for an object that cannot have its finalizer.
      await make('later');
      expect(held('later')).toBeUndefined();
      // An upstream that was written earlier is deleted with its object.
      await work.remove(work.upstreamPath('new'));
      await eventually(() => expect(held('new')).toBeUndefined(), WITHIN_A_MINUTE);
    } finally {
      await putBack();
    }
    await eventually(
      async () => expect((await readyOf(work.upstreamPath('later')))?.reason).toBe('Ready'),
      WITHIN_A_MINUTE,
    );
    await work.remove(work.upstreamPath('later'));
    await eventually(async () => expect(await work.get(work.upstreamPath('later'))).toBeUndefined());
  });

  it.each(leaseRights)('is named by readiness and check until it is restored: %s', async (_, index) => {
    const permission = permissionAt(index);
    const words = describeMissing([permission]);
    const lease = { leaseDuration: '6s', renewDeadline: '2s', retryPeriod: '500ms' };
    let operator = await start(lease);
    try {
      await operator.ready();
      await eventually(() => expect(operator.output()).toContain(LEADS), WITHIN_A_MINUTE);
      const putBack = await takeAway(permission);
      try {
        if (permission.verb === 'update') {
          // A leader that cannot renew exits, and a Deployment starts it again.
          await eventually(() => expect(operator.process.exitCode).toBe(1), WITHIN_A_MINUTE);
          await operator[Symbol.asyncDispose]();
          operator = await start(lease);
        }
        await eventually(async () => expect(await problemOf(operator)).toBe(words), WITHIN_A_MINUTE);
        if (permission.verb === 'create') {
          await eventually(
            async () =>
              expect(await readyOf(connectionPath(CONNECTION))).toMatchObject({
                reason: 'PermissionMissing',
                message: expect.stringContaining(words),
              }),
            WITHIN_A_MINUTE,
          );
        }
        expect(await checked()).toEqual({ code: 1, failed: [words] });
      } finally {
        await putBack();
      }
      await eventually(async () => {
        expect((await operator.readyz()).status).toBe(200);
        expect((await readyOf(connectionPath(CONNECTION)))?.reason).toBe('Ready');
      }, WITHIN_A_MINUTE);
    } finally {
      await operator.stop();
    }
  });
});
