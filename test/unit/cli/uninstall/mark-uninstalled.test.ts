import { describe, expect, it } from 'vitest';
import { gatewayConnectionStatus } from '../../../../src/api/gateway-connection.ts';
import { gatewayUpstreamSetStatus } from '../../../../src/api/gateway-upstream-set.ts';
import { gatewayUpstreamStatus } from '../../../../src/api/gateway-upstream-status.ts';
import { pendingStatusInNamespace } from '../../../../src/api/schema.ts';
import { serviceRegistryStatus } from '../../../../src/api/service-registry.ts';
import { markedStatus } from '../../../../src/cli/uninstall/mark-uninstalled.ts';

const NOW = '2026-05-06T07:08:09Z';
const BEFORE = '2026-01-01T00:00:00Z';
const was = (type: string, reason = type, status: 'True' | 'False' = 'True') => ({
  type,
  status,
  reason,
  message: 'as the operator said',
  observedGeneration: 2,
  lastTransitionTime: BEFORE,
});

interface Marked {
  readonly conditions: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  }[];
  readonly [field: string]: unknown;
}

const mark = (name: Parameters<typeof markedStatus>[0], status: object = {}, generation = 3) =>
  markedStatus(name, { metadata: { uid: 'u', generation }, status: { ...status } }, NOW) as Marked;
const summary = ({ conditions }: Marked) =>
  conditions.map(({ type, status, reason }) => `${type}=${status}/${reason}`);

describe('markedStatus', () => {
  it('keeps the fields of a GatewayUpstream that the next operator needs and removes observations', () => {
    const before = {
      observedGeneration: 2,
      upstreamId: 'shop.web',
      upstreamCreateTime: BEFORE,
      endpoints: { summary: '3/3', ready: 3, draining: 0, excluded: 0, held: 0 },
      excluded: [{ address: '10.0.0.1:80', reason: 'NotReady' }],
      warnings: [{ reason: 'WeightsApproximate', field: 'spec.backends', message: 'only near' }],
      dataPlanes: { total: 1, current: 1 },
      fieldOfANewerVersion: 'x',
      conditions: [
        was('Ready'),
        was('Accepted'),
        was('ResolvedRefs'),
        was('Programmed'),
        was('RemovalHeld'),
        was('Reconciling'),
      ],
    };
    const { conditions, ...fields } = mark('upstreams', before);
    expect(fields).toEqual({
      observedGeneration: 2,
      upstreamId: 'shop.web',
      upstreamCreateTime: BEFORE,
      fieldOfANewerVersion: 'x',
    });
    expect(summary({ conditions })).toEqual([
      'Ready=Unknown/OperatorUninstalled',
      'ResolvedRefs=Unknown/OperatorUninstalled',
      'Programmed=Unknown/OperatorUninstalled',
      'Stalled=True/OperatorUninstalled',
      'Accepted=True/Accepted',
    ]);
    expect(conditions[0]).toMatchObject({
      observedGeneration: 3,
      lastTransitionTime: NOW,
      message: expect.stringMatching(/^The operator was uninstalled\. .*stays in the gateway.*\. Install/),
    });
    expect(conditions[4]).toEqual(was('Accepted'));
    // The second call changes nothing.
    expect(mark('upstreams', { ...fields, conditions })).toEqual({ ...fields, conditions });
    expect(gatewayUpstreamStatus.safeParse({ ...fields, conditions }).success).toBe(true);
  });

  it('sets only Ready on an object that no operator has processed', () => {
    expect(summary(mark('upstreams', pendingStatusInNamespace, 1))).toEqual([
      'Ready=Unknown/OperatorUninstalled',
      'Stalled=True/OperatorUninstalled',
    ]);
    expect(summary(mark('upstreams'))).toEqual([
      'Ready=Unknown/OperatorUninstalled',
      'Stalled=True/OperatorUninstalled',
    ]);
  });

  it('keeps the retained upstreams of a GatewayConnection', () => {
    const marked = mark('connections', {
      gatewayVersion: '3.18.0',
      leftBehind: ['shop.old'],
      upstreams: 3,
      dataPlanes: { total: 1, reachable: 1 },
      conditions: [was('Ready'), was('Reachable'), was('Authorized', 'Unauthorized', 'False')],
    });
    const { conditions: _, ...fields } = marked;
    expect(fields).toEqual({ gatewayVersion: '3.18.0', leftBehind: ['shop.old'] });
    expect(summary(marked)).toEqual([
      'Ready=Unknown/OperatorUninstalled',
      'Reachable=Unknown/OperatorUninstalled',
      'Authorized=Unknown/OperatorUninstalled',
      'Stalled=True/OperatorUninstalled',
    ]);
    expect(gatewayConnectionStatus.safeParse(marked).success).toBe(true);
  });

  it('keeps what the registry of a ServiceRegistry last answered', () => {
    const marked = mark('registries', {
      version: '1.12.9',
      users: 3,
      followedServices: 2,
      lastCompleteAnswerTime: BEFORE,
      conditions: [was('Ready'), was('Reachable'), was('Authorized')],
    });
    const { conditions: _, ...fields } = marked;
    expect(fields).toEqual({ version: '1.12.9', lastCompleteAnswerTime: BEFORE });
    expect(summary(marked)).toEqual([
      'Ready=Unknown/OperatorUninstalled',
      'Reachable=Unknown/OperatorUninstalled',
      'Authorized=Unknown/OperatorUninstalled',
      'Stalled=True/OperatorUninstalled',
    ]);
    expect(serviceRegistryStatus.safeParse(marked).success).toBe(true);
  });

  it('removes the pending pruning of a GatewayUpstreamSet', () => {
    const marked = mark('sets', {
      services: 2,
      ports: 2,
      upstreams: 2,
      problems: [],
      pruning: { waiting: 3 },
      conditions: [was('Ready'), was('PruningHeld')],
    });
    const { conditions: _, ...fields } = marked;
    expect(fields).toEqual({});
    expect(summary(marked)).toEqual([
      'Ready=Unknown/OperatorUninstalled',
      'Stalled=True/OperatorUninstalled',
    ]);
    expect(gatewayUpstreamSetStatus.safeParse(marked).success).toBe(true);
  });
});
