import { describe, expect, it } from 'vitest';
import { builtInCatalog } from '../../../../src/catalog.ts';
import { InstallError } from '../../../../src/cli/install/install-error.ts';
import { scopeOf } from '../../../../src/cli/uninstall/scope.ts';
import { settleUpstreams } from '../../../../src/cli/uninstall/settle-upstreams.ts';
import type { KubeTransport } from '../../../../src/kube/transport.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

const unused = new AbortController().signal;
const GROUP_PATH = '/apis/gatewayupstream.dev/v1alpha1';

interface Condition {
  readonly reason: string;
  readonly message: string;
}

const inUse = (route: string): Condition => ({
  reason: 'InUse',
  message: `Deletion is pending (can not delete this upstream, route [${route}] is still using it now): remove that reference, or set spec.deletionPolicy to Orphan or Force`,
});
const unavailable: Condition = { reason: 'GatewayUnavailable', message: 'http://a refused the connection' };

/** GatewayUpstreams of namespace `shop` that are being deleted, by name, with the condition Ready of each. */
function deleting(upstreams: Record<string, Condition>) {
  const clock = createFakeClock();
  const transport: KubeTransport = {
    async get(path) {
      const items = Object.entries(upstreams).map(([name, { reason, message }]) => ({
        metadata: {
          name,
          namespace: 'shop',
          uid: name,
          resourceVersion: '1',
          generation: 2,
          deletionTimestamp: '2026-01-01T00:00:00Z',
          finalizers: ['gatewayupstream.dev/upstream-cleanup'],
        },
        spec: { backends: [{ serviceRef: { name, port: 80 } }] },
        status: {
          conditions: [
            { type: 'Ready', status: 'False', reason, message, lastTransitionTime: '2026-01-01T00:00:00Z' },
          ],
        },
      }));
      return {
        metadata: {},
        items: path.startsWith(`${GROUP_PATH}/gatewayupstreams`) && !path.endsWith('sets') ? items : [],
      };
    },
    send: async () => ({}),
    async *watch() {},
    close: () => undefined,
  };
  let outcome: unknown;
  return {
    upstreams,
    clock,
    outcome: () => outcome,
    async begin(timeoutMs = 300_000) {
      const scope = await scopeOf(builtInCatalog.transforms, transport, [], unused);
      const options = { namespaces: [], finalizers: 'delete', timeoutMs } as const;
      void settleUpstreams(
        { catalog: builtInCatalog, transport, clock, print: () => undefined },
        scope,
        options,
        unused,
      ).then(
        () => {
          outcome = 'done';
        },
        (error: unknown) => {
          outcome = error;
        },
      );
      await clock.advance(0);
    },
  };
}

describe('the finalizer policy delete', () => {
  it('fails when only upstreams in use remain for 10 s and names the references to each', async () => {
    const { upstreams, clock, begin, outcome } = deleting({
      web: inUse('front'),
      news: inUse('back'),
      slow: unavailable,
    });
    await begin();
    await clock.advance(30_000);
    expect(outcome()).toBeUndefined();
    delete upstreams['slow'];
    await clock.advance(9500);
    expect(outcome()).toBeUndefined();
    await clock.advance(1000);
    expect(outcome()).toBeInstanceOf(InstallError);
    expect(outcome()).toMatchObject({
      exitCode: 3,
      message: expect.stringContaining(
        '2 GatewayUpstreams cannot be deleted, because routes or other objects in the gateway use their upstreams (shop/web: can not delete this upstream, route [front] is still using it now; shop/news: can not delete this upstream, route [back] is still using it now)',
      ),
    });
  });

  it('fails after a minute without progress with the message of the status', async () => {
    const { upstreams, clock, begin, outcome } = deleting({ web: unavailable, news: unavailable });
    await begin();
    await clock.advance(50_000);
    delete upstreams['news'];
    await clock.advance(59_500);
    expect(outcome()).toBeUndefined();
    await clock.advance(1000);
    expect(outcome()).toMatchObject({
      exitCode: 3,
      message: expect.stringMatching(
        /^the operator did not delete 1 GatewayUpstream within 110 s \(shop\/web\): http:\/\/a refused/,
      ),
    });
  });

  it('fails at its timeout despite progress', async () => {
    const { clock, begin, outcome } = deleting({ web: unavailable });
    await begin(5000);
    await clock.advance(5250);
    expect(outcome()).toMatchObject({
      exitCode: 3,
      message: expect.stringContaining('within 5 s (shop/web)'),
    });
  });

  it('succeeds when all GatewayUpstreams are deleted', async () => {
    const { upstreams, clock, begin, outcome } = deleting({ web: inUse('front') });
    await begin();
    await clock.advance(5000);
    delete upstreams['web'];
    await clock.advance(500);
    expect(outcome()).toBe('done');
  });
});
