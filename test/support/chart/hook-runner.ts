import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterAccess } from '../control-plane/cluster-access.ts';
import { type RenderedWorkload, runRendered } from './run-rendered.ts';

interface HookRun {
  readonly job: string;
  readonly args: readonly string[];
  readonly code: number | null;
  readonly output: string;
}

/** Stands in for job controller and kubelet: runs every Job of a namespace once and tells the API server how it ended. */
export interface HookRunner extends AsyncDisposable {
  /** In the order in which they ended. */
  readonly runs: readonly HookRun[];
}

const LOOK_EVERY_MS = 100;

/** Runs Jobs until it is disposed; a failure of its own shows then. Jobs of the name `broken` fail without being run. */
export function startHookRunner(
  cluster: ClusterAccess,
  namespace: string,
  { broken }: { readonly broken?: string } = {},
): HookRunner {
  const stop = new AbortController();
  const runs: HookRun[] = [];
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const seen = new Set<string>();

  const finish = async (name: string, succeeded: boolean) => {
    const now = new Date().toISOString();
    const ending = (type: string) => ({
      type,
      status: 'True',
      reason: 'Test',
      lastTransitionTime: now,
      lastProbeTime: now,
    });
    const status = succeeded
      ? {
          startTime: now,
          completionTime: now,
          succeeded: 1,
          conditions: [ending('SuccessCriteriaMet'), ending('Complete')],
        }
      : { startTime: now, failed: 1, conditions: [ending('FailureTarget'), ending('Failed')] };
    const answer = await cluster.request('PATCH', `${path}/${name}/status`, { status });
    if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${JSON.stringify(answer.body)}`);
  };

  const running = (async () => {
    while (!stop.signal.aborted) {
      const { body } = await cluster.request('GET', path);
      const { items } = body as {
        readonly items: readonly (RenderedWorkload & {
          readonly metadata: { readonly uid: string };
          readonly status?: { readonly conditions?: readonly unknown[] };
        })[];
      };
      for (const job of items) {
        // One that failed before stays until the next of its name.
        if (seen.has(job.metadata.uid) || (job.status?.conditions ?? []).length > 0) continue;
        seen.add(job.metadata.uid);
        if (job.metadata.name === broken) {
          await finish(job.metadata.name, false);
          continue;
        }
        await using run = await runRendered(cluster, job);
        const code = await run.exited;
        const args = job.spec.template.spec.containers[0]?.args ?? [];
        runs.push({ job: job.metadata.name, args, code, output: run.output() });
        await finish(job.metadata.name, code === 0);
      }
      await sleep(LOOK_EVERY_MS);
    }
  })();
  // Told when it is disposed.
  running.catch(() => undefined);
  return {
    runs,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
