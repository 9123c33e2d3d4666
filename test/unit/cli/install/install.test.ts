import { KubeConfig } from '@kubernetes/client-node';
import { expect, it } from 'vitest';
import { CUSTOM_RESOURCES } from '../../../../src/api/crd.ts';
import { builtInCatalog } from '../../../../src/catalog.ts';
import { install } from '../../../../src/cli/install/install.ts';
import { KubeApiError } from '../../../../src/kube/kube-error.ts';
import type { KubeTransport } from '../../../../src/kube/transport.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';

it('waits for a CRD without conditions', async () => {
  const clock = createFakeClock();
  const crds = new Map<string, unknown>();
  let conditions: object[] | null = null;
  const transport: KubeTransport = {
    async get(path) {
      if (!path.includes('/customresourcedefinitions/')) return { items: [] };
      const crd = crds.get(path);
      if (crd === undefined) throw new KubeApiError('there is none', { status: 404 });
      return { ...(crd as object), status: { conditions } };
    },
    async send({ path, body }) {
      crds.set(path, body);
      return body;
    },
    async *watch() {},
    close: () => undefined,
  };
  const lines: string[] = [];
  const installed = install(
    {
      catalog: builtInCatalog,
      transport,
      kubeConfig: new KubeConfig(),
      clock,
      print: (line) => lines.push(line),
    },
    { namespace: 'own', namespaces: [], secretNamespaces: [], crdsOnly: true },
    undefined,
    new AbortController().signal,
  );
  await settle();
  expect(lines).toHaveLength(CUSTOM_RESOURCES.length);
  conditions = [{ type: 'Established', status: 'True' }];
  await clock.advance(10_000);
  await installed;
  expect(lines.at(-1)).toBe('The CRDs are installed.');
});
