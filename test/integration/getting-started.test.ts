import { readFileSync } from 'node:fs';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { runBlock } from '../support/doc-shell.ts';
import { type Kubelet, startKubelet } from '../support/kubelet.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { createWorkload } from '../support/workload.ts';

const NAMESPACE = 'gateway-upstream-system';

interface Step {
  readonly heading: string;
  readonly script: string;
  /** The output that the page shows, if any. */
  readonly output: string | undefined;
  readonly isRun: boolean;
}

/** The commands of docs/getting-started.md, in order. */
function steps(): readonly Step[] {
  const text = readFileSync(new URL('../../docs/getting-started.md', import.meta.url), 'utf8');
  const parts = text.matchAll(
    /^## ([^\n]+)$|(<!-- Not run by a test: [^\n]+ -->\n\n)?^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?/gms,
  );
  let heading = '';
  return [...parts].flatMap(([, title, mark, script, output]) => {
    if (title !== undefined) heading = title;
    return script === undefined ? [] : [{ heading, script, output, isRun: mark === undefined }];
  });
}

/** Without ages and the width of columns, which differ from run to run. */
function normalized(output: string): string {
  return output.replaceAll(/ +/g, ' ').replaceAll(/ \d+m?\d*s$/gm, ' AGE');
}

describe('docs/getting-started.md', () => {
  const all = steps();
  let cluster: ControlPlane;
  let gateway: StandIn;
  let kubelet: Kubelet;
  let operator: Operator | undefined;
  let programs: string;

  beforeAll(async () => {
    // Its own control plane: the page uses namespace default and a connection of that name.
    cluster = await startControlPlane({ controllers: ['deployment-controller', 'replicaset-controller'] });
    programs = await mkdtemp(join(tmpdir(), 'gateway-upstream-operator-docs-'));
    await symlink(cluster.binaries.kubectl, join(programs, 'kubectl'));
    gateway = await startStandIn();
    kubelet = await startKubelet(cluster, 'default');
    await installCrds(cluster);
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await kubelet?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    await rm(programs, { recursive: true, force: true });
  });

  /** What the page's `helm install` does. */
  async function install(): Promise<void> {
    operator = await startOperator(cluster, NAMESPACE, await installRbac(cluster, NAMESPACE));
    const work = createWorkload(cluster, 'default');
    await work.connection('default', { adminUrl: gateway.adminUrl, secret: 'apisix-admin' });
    await operator.ready();
  }

  it('marks the commands that no test can run', () => {
    expect(all.filter(({ isRun }) => !isRun).map(({ heading }) => heading)).toEqual([
      'Build the image',
      'Install the operator',
      'Create a route',
    ]);
    expect(all.filter(({ isRun }) => isRun).length).toBeGreaterThanOrEqual(9);
  });

  it.each(all.map((step, index) => [`${index + 1}, ${step.heading}`, step] as const))(
    'prints the output that the page shows: block %s',
    async (_, { heading, script, output, isRun }) => {
      if (!isRun) {
        if (heading === 'Install the operator') await install();
        return;
      }
      const stdout = await runBlock(script, { programs, cluster, gateway });
      if (output !== undefined) expect(normalized(stdout)).toBe(normalized(output));
      if (script.includes('/upstreams/default.cms')) {
        const { value } = JSON.parse(stdout) as { readonly value: { readonly nodes: readonly object[] } };
        expect(value.nodes).toHaveLength(4);
      }
    },
  );

  it('leaves nothing in the gateway', () => {
    expect(gateway.ids('upstreams')).toEqual([]);
    expect(gateway.ids('routes')).toEqual([]);
  });
});
