import type { Catalog } from '../../catalog.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Command } from '../args.ts';
import { untilStopped, withCluster } from '../with-cluster.ts';
import { makePlan } from './make-plan.ts';
import { inputFromCluster, inputFromFiles } from './plan.ts';
import type { PlanInput } from './planned.ts';
import { planExitCode, renderPlan, renderTakeOvers } from './render.ts';
import { takeOvers } from './take-over.ts';

type PlanCommand = Extract<Command, { kind: 'plan' }>;

/** Runs `plan` for a cluster or for files and prints the result. Resolves to the exit code. */
export async function runPlan(catalog: Catalog, command: PlanCommand): Promise<number> {
  const { options, kubeconfig } = command;
  const now = systemClock.now();
  if (options.files.length === 0) {
    return await withCluster(kubeconfig, async ({ transport }, signal) =>
      printPlan(command, await inputFromCluster(options, { catalog, transport, now }, signal)),
    );
  }
  const note = (line: string) => process.stderr.write(`${line}\n`);
  return await untilStopped(async (signal) =>
    printPlan(command, await inputFromFiles(options, { catalog, stdin: process.stdin, now, note }, signal)),
  );
}

function printPlan({ takeOver, output, color }: PlanCommand, input: PlanInput): number {
  if (takeOver !== undefined) return printTakeOvers(input, takeOver);
  const plan = makePlan(input);
  process.stdout.write(renderPlan(plan, output, isColored(color)));
  return planExitCode(plan);
}

function printTakeOvers(
  input: PlanInput,
  { into: namespace, registries }: NonNullable<PlanCommand['takeOver']>,
): number {
  const all = takeOvers({ ...input, namespace, registries });
  process.stdout.write(renderTakeOvers(all, input.gateways));
  return [...input.gateways.values()].every(({ kind }) => kind === 'listed') ? 0 : 1;
}

/** `auto`: color on a terminal, unless NO_COLOR is set (no-color.org). */
function isColored(color: 'auto' | 'always' | 'never'): boolean {
  if (color !== 'auto') return color === 'always';
  const { NO_COLOR, TERM } = process.env;
  return process.stdout.isTTY === true && (NO_COLOR ?? '') === '' && TERM !== 'dumb';
}
