import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GatewayUpstreamSpec } from '../../src/api/gateway-upstream.ts';
import { upstreamSectionOf } from '../../src/api/vendor-section.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import { makePlan } from '../../src/cli/plan/make-plan.ts';
import type { PlannedUpstream } from '../../src/cli/plan/planned.ts';
import { backendTargets, type ResolvedBackend } from '../../src/decide/backends.ts';
import { buildUpstream } from '../../src/decide/build-upstream.ts';
import { ownerMark } from '../../src/decide/ownership.ts';
import { toAdmin } from '../../src/gateways/apisix/translate.ts';
import type { Discovered } from '../../src/model/discovered.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { createAdminApi } from '../support/apisix-stand-in/admin-api.ts';
import { startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { createStore } from '../support/apisix-stand-in/store.ts';
import { brokenSpec, discovered, validSpec } from '../support/arbitrary-spec.ts';
import {
  gatewayFormat,
  gatewayUpstreamSpec,
  storesOf,
  transformGatewayUpstream,
} from '../support/catalog.ts';
import { fuzzCases } from '../support/fuzz-cases.ts';
import { apisixDriver } from './apisix-harness.ts';

const VALID_RUNS = fuzzCases(20_000);
const BROKEN_RUNS = fuzzCases(5000);
const HTTP_RUNS = fuzzCases(500);
const never = new AbortController().signal;

// Printed to reproduce a failure.
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
process.stderr.write(`random specs: SEED=${seed}\n`);

/** The response of an APISIX version to the body of a PUT, without HTTP. */
function createGateway(version: string) {
  const adminKey = 'key';
  const respond = createAdminApi({
    store: createStore(() => 0),
    adminKey: () => adminKey,
    viewerKey: 'viewer',
    version: () => version,
    storesDefaults: () => false,
    now: () => 0,
  });
  return (upstream: Upstream) => {
    const body = JSON.stringify(toAdmin(upstream));
    return respond({
      method: 'PUT',
      path: `/apisix/admin/upstreams/${upstream.id}`,
      headers: { 'x-api-key': adminKey },
      body,
      bodyBytes: Buffer.byteLength(body),
    });
  };
}

/** The write for `spec`, with the backends `found` in order. */
function desiredOf(spec: GatewayUpstreamSpec, found: readonly Discovered[]): Upstream {
  const absent: Discovered = { state: 'absent', reason: 'ServiceNotFound', message: '' };
  const backends = backendTargets(spec, 'shop').map(
    (target, index): ResolvedBackend =>
      target.kind === 'addresses'
        ? { target }
        : { target, found: found[index % Math.max(1, found.length)] ?? absent },
  );
  const owner = { cluster: 'c', connection: spec.connectionRef.name, namespace: 'shop', name: 'web' };
  const mark = ownerMark(owner, { retain: false });
  return buildUpstream(spec, { id: spec.upstreamId ?? 'shop.web', owner: mark, section: 'apisix' }, backends)
    .upstream;
}

/** The oldest and the newest known version, and every version that supports more than the previous one. */
const VERSIONS = ['3.2.0', '3.4.0', '3.5.0', '3.6.0', '3.15.0', '3.17.0', '3.18.0'];
const format = gatewayFormat('APISIX');

const found = fc.array(discovered, { maxLength: 4 });

describe('a random valid spec', () => {
  it('is accepted by the gateway', () => {
    const puts = VERSIONS.map((version) => ({ version, put: createGateway(version) }));
    const seen = new Set<string>();
    const takesAll = createGateway('3.19.0');
    let olderWrites = 0;
    fc.assert(
      fc.property(validSpec, found, fc.constantFrom(...puts), (spec, lists, { version, put }) => {
        const desired = desiredOf(gatewayUpstreamSpec.parse(spec), lists);
        // A field that this version does not support is UnsupportedField and not sent.
        const isSupported = format.unsupported(desired, { version }).length === 0;
        if (isSupported) olderWrites += 1;
        const { status, body } = (isSupported ? put : takesAll)(desired);
        if (status !== 200 && status !== 201) throw new Error(`${version}: ${status} ${body}`);
        for (const field of Object.keys(spec)) seen.add(field);
      }),
      { numRuns: VALID_RUNS, seed },
    );
    expect(olderWrites).toBeGreaterThan(VALID_RUNS / 4);
    expect([...seen].sort()).toEqual(Object.keys(gatewayUpstreamSpec.shape).sort());
  }, 300_000);

  it('is read back over HTTP unchanged', async () => {
    await using standIn = await startStandIn({ version: '3.19.0' });
    const driver = apisixDriver({ adminUrl: standIn.adminUrl, adminKey: standIn.adminKey });
    try {
      await fc.assert(
        fc.asyncProperty(validSpec, found, async (spec, lists) => {
          const desired = desiredOf(gatewayUpstreamSpec.parse(spec), lists);
          const { canonical } = await driver.put(desired, never);
          expect(canonical).toBe(driver.canonical(desired));
        }),
        { numRuns: HTTP_RUNS, seed },
      );
    } finally {
      driver.close();
    }
  }, 300_000);
});

describe('a random invalid spec', () => {
  it('sets a condition or is accepted by the gateway, and never throws', () => {
    const put = createGateway('3.19.0');
    let refused = 0;
    fc.assert(
      fc.property(brokenSpec, found, (spec, lists) => {
        // As returned by the API server, without values that JSON cannot represent.
        const stored: unknown = JSON.parse(JSON.stringify(spec) ?? 'null');
        const told = planned(stored);
        const parsed = transformGatewayUpstream({
          metadata: { name: 'web', namespace: 'shop', uid: 'u' },
          spec: stored,
        });
        if (parsed?.spec.ok !== true) {
          expect(told?.conditions).toMatchObject([
            { type: 'Accepted', status: 'False', reason: 'InvalidSpec' },
          ]);
          expect(told?.conditions[0]?.message).toMatch(/^spec/);
          refused += 1;
          return;
        }
        const { status } = put(desiredOf(parsed.spec.value, lists));
        const mayBeRefused = upstreamSectionOf(parsed.spec.value, 'apisix')?.overrides !== undefined;
        expect(mayBeRefused ? [200, 201, 400] : [200, 201]).toContain(status);
      }),
      { numRuns: BROKEN_RUNS, seed },
    );
    expect(refused).toBeGreaterThan(BROKEN_RUNS / 4);
  }, 300_000);
});

/** The plan for an object with `spec`. */
function planned(spec: unknown): PlannedUpstream | undefined {
  const raw = { metadata: { name: 'web', namespace: 'shop', uid: 'u', generation: 1 }, spec };
  const connection = {
    metadata: { name: 'default', uid: 'c' },
    spec: {
      type: 'APISIX',
      apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'key' } },
      allowedNamespaces: { all: true },
      tenantPolicy: { upstreamIds: 'Any', staticAddresses: 'Allow', overrides: 'Allow' },
    },
  };
  const look = { kind: 'listed', ...format, info: {}, upstreams: new Map() } as const;
  const [entry] = makePlan({
    catalog: builtInCatalog,
    stores: storesOf({
      upstreams: [raw],
      connections: [connection],
      sets: [],
      registries: [],
      namespaces: [],
      services: [],
      slices: [],
      secrets: [],
      grants: [],
    }),
    onlyNamespaces: [],
    clusterId: 'c',
    gateways: new Map([['default', look]]),
    only: [],
    now: 0,
  }).upstreams;
  return entry;
}
