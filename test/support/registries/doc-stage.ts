import { readFileSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Plan } from '../../../src/cli/plan/planned.ts';
import { type StandIn, startStandIn } from '../apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../control-plane/control-plane.ts';
import { runBlock } from '../doc-shell.ts';
import { eventually } from '../eventually.ts';
import { MAIN } from '../main.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../operator.ts';
import { runProgram } from '../program.ts';
import { createWorkload, writeSecret } from '../workload.ts';

const NAMESPACE = 'gateway-upstream-system';

/** The shell blocks of a page of `docs/` that a test runs, in order. */
export function pageBlocks(page: string): readonly string[] {
  const text = readFileSync(new URL(`../../../docs/${page}`, import.meta.url), 'utf8');
  const whole = /^<!-- Each command is run by .* -->$/m.test(text);
  const blocks = text.matchAll(/^(?:<!-- (.*) -->\n\n)?```sh\n(.*?)^```$/gms);
  return [...blocks].flatMap(([, mark = '', script = '']) =>
    whole || mark.startsWith('Run by ') ? [script] : [],
  );
}

/** A cluster with an operator and a gateway, as the pages about registries expect them. */
export class DocStage implements AsyncDisposable {
  readonly gateway: StandIn;
  /** Folder on the PATH of the reader, and the working directory. */
  readonly programs: string;
  readonly #cluster: ControlPlane;
  readonly #operator: Operator;
  readonly #kubeconfig: string;

  private constructor(
    gateway: StandIn,
    programs: string,
    cluster: ControlPlane,
    operator: Operator,
    kubeconfig: string,
  ) {
    this.gateway = gateway;
    this.programs = programs;
    this.#cluster = cluster;
    this.#operator = operator;
    this.#kubeconfig = kubeconfig;
  }

  /** `programs`: by name on the PATH of the reader. */
  static async start(programs: Readonly<Record<string, string>>): Promise<DocStage> {
    await using started = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'gateway-upstream-operator-docs-'));
    started.defer(() => rm(folder, { recursive: true, force: true }));
    const cluster = started.use(await startControlPlane());
    const gateway = started.use(await startStandIn());
    const links = { kubectl: cluster.binaries.kubectl, ...programs };
    for (const [name, path] of Object.entries(links)) await symlink(path, join(folder, name));
    const script = `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`;
    await writeFile(join(folder, 'gateway-upstream-operator'), script, { mode: 0o755 });
    await installCrds(cluster);
    await cluster.kubectl(['create', 'namespace', NAMESPACE]);
    const token = await installRbac(cluster, NAMESPACE);
    const operator = started.use(await startOperator(cluster, NAMESPACE, token));
    await writeSecret(cluster, NAMESPACE, 'apisix-admin', { 'admin-key': gateway.adminKey });
    const work = createWorkload(cluster, 'default');
    await work.connection('default', { adminUrl: gateway.adminUrl, secret: 'apisix-admin' });
    await operator.ready();
    // The identity of the operator, whose permissions must be enough for plan.
    const kubeconfig = await cluster.kubeconfigFor({ name: 'plan', token, namespace: NAMESPACE });
    started.move();
    return new DocStage(gateway, folder, cluster, operator, kubeconfig);
  }

  /** Resolves to the standard output. */
  run(script: string, env: Readonly<Record<string, string>>): Promise<string> {
    const { programs, gateway } = this;
    return runBlock(script, { programs, cluster: this.#cluster, gateway, env, cwd: programs });
  }

  /** Plans with the permissions of the operator. `state`: services to use in place of those of the registries. */
  async plan(state?: object): Promise<{ readonly code: number | null; readonly plan: Plan }> {
    const file = join(this.programs, 'state.json');
    if (state !== undefined) await writeFile(file, JSON.stringify(state));
    const { code, stdout } = await runProgram([
      ...['plan', '--namespace', NAMESPACE, '--kubeconfig', this.#kubeconfig, '-o', 'json'],
      ...(state === undefined ? [] : ['--registry-state', file]),
    ]);
    return { code, plan: JSON.parse(stdout) as Plan };
  }

  async admin(path: string, body: object): Promise<void> {
    const response = await fetch(`${this.gateway.adminUrl}/apisix/admin/${path}`, {
      method: 'PUT',
      headers: { 'X-API-KEY': this.gateway.adminKey },
      body: JSON.stringify(body),
    });
    expect(response.ok).toBe(true);
  }

  /** Waits until the upstream has these nodes. */
  shows(id: string, places: readonly string[]): Promise<void> {
    return eventually(() => {
      const nodes = (this.gateway.get('upstreams', id)?.['nodes'] ?? []) as { host: string; port: number }[];
      expect(nodes.map(({ host, port }) => `${host}:${port}`).sort()).toEqual(places);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#operator[Symbol.asyncDispose]();
    await this.gateway[Symbol.asyncDispose]();
    await this.#cluster[Symbol.asyncDispose]();
    await rm(this.programs, { recursive: true, force: true });
  }
}
