import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterAccess } from '../control-plane/cluster-access.ts';
import { type RenderedWorkload, runRendered } from './run-rendered.ts';

interface HookRun {
  readonly job: string;
  readonly args: readonly string[];
  readonly code: number | null;
  readonly output: string;
}

/** Replaces the job controller and the kubelet: runs every Job of a namespace once and reports its result to the API server. */
export interface HookRunner extends AsyncDisposable {
  /** The runs, in the order in which they ended. */
  readonly runs: readonly HookRun[];
}

const LOOK_EVERY_MS = 100;

/** Runs Jobs until it is disposed, which also throws its own errors. Jobs named `broken` fail without a run. */
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
        // A failed Job stays until the next Job with the same name.
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
  // Thrown at disposal.
  running.catch(() => undefined);
  return {
    runs,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
