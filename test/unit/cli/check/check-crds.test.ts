import { describe, expect, it } from 'vitest';
import { type CustomResource, customResourceDefinition } from '../../../../src/api/crd.ts';
import { GROUP, VERSION } from '../../../../src/api/group.ts';
import { builtInCatalog as catalog } from '../../../../src/catalog.ts';
import { checkCrds } from '../../../../src/cli/check/check-crds.ts';
import { KubeApiError } from '../../../../src/kube/kube-error.ts';
import type { KubeTransport } from '../../../../src/kube/transport.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

const [connections] = catalog.customResources;

/** What the API server publishes of a kind. */
function schemaOf(resource: CustomResource): object {
  const { spec } = customResourceDefinition(resource) as {
    readonly spec: {
      readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: object } }[];
    };
  };
  return {
    ...spec.versions[0]?.schema.openAPIV3Schema,
    'x-kubernetes-group-version-kind': [{ group: GROUP, version: VERSION, kind: resource.kind }],
  };
}

/** An API server whose discovery has `served`, and which publishes `published` at a time. */
async function run(served: readonly CustomResource[], published: (ms: number) => readonly CustomResource[]) {
  const clock = createFakeClock();
  const answerTo = (path: string): object => {
    if (path === `/apis/${GROUP}/${VERSION}`)
      return { resources: served.map(({ plural }) => ({ name: plural })) };
    const schemas = published(clock.monotonic() - startedAt).map((one) => [one.kind, schemaOf(one)]);
    if (schemas.length === 0) throw new KubeApiError('not found', { status: 404 });
    return { components: { schemas: Object.fromEntries(schemas) } };
  };
  const startedAt = clock.monotonic();
  const transport = { get: async (path: string) => answerTo(path) } as unknown as KubeTransport;
  const checking = checkCrds({ transport, catalog, clock }, new AbortController().signal);
  for (let n = 0; n < 60; n += 1) await clock.advance(250);
  return (await checking).map(({ ok, message }) => `${ok ? 'ok' : 'FAIL'} ${message}`);
}

describe('checkCrds', () => {
  const all = catalog.customResources;

  it('accepts the CRDs of this version', async () => {
    expect(new Set(await run(all, () => all))).toEqual(new Set(['ok matches this version of the operator']));
  });

  it('waits for schemas that are published after their kinds are served', async () => {
    const findings = await run(all, (ms) => (ms < 3000 ? [] : ms < 6000 ? all.slice(0, 1) : all));
    expect(new Set(findings)).toEqual(new Set(['ok matches this version of the operator']));
  });

  it('reports schemas that are never published', async () => {
    const findings = await run(all, () => all.slice(1));
    expect(findings.filter((one) => one.startsWith('FAIL'))).toEqual([
      'FAIL served, but its schema is not published yet',
    ]);
  });

  it('reports CRDs that are not installed without waiting', async () => {
    const others = all.filter((one) => one !== connections);
    expect((await run(others, () => others)).filter((one) => one.startsWith('FAIL'))).toEqual([
      'FAIL not installed',
    ]);
    expect(new Set(await run([], () => []))).toEqual(new Set(['FAIL not installed']));
  });
});
