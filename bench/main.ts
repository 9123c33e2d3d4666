import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Operator } from '../test/support/operator.ts';
import { measureEarly } from './early.ts';
import { Ledger } from './ledger.ts';
import { measureIdle, measureProgramming, measureStart, measureTakeOver, memoryOf } from './lifecycle.ts';
import { FlagError, type Options, readOptions, USAGE } from './options.ts';
import { measurePropagation } from './propagation.ts';
import { measureRegistry } from './registries/measure-registries.ts';
import { registriesText, registryFaultsIn } from './registries/report.ts';
import type { RegistryResult } from './registries/results.ts';
import { faultsIn, reportText } from './report.ts';
import type { Early, Propagation, Result, SizeResult } from './results.ts';
import { createScene } from './scene.ts';
import { measureRollout, measureStorm } from './storm.ts';

/** Measures the speed, the number of writes and the cost of the built program, and compares them with the floor of the same run. */

const began = performance.now();

function progress(line: string): void {
  process.stderr.write(`${((performance.now() - began) / 1000).toFixed(0).padStart(5)} s  ${line}\n`);
}

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (!existsSync(fileURLToPath(new URL('../dist/main.js', import.meta.url)))) {
    process.stderr.write('dist/main.js does not exist. Run: npm run build\n');
    return 1;
  }
  const sizes: SizeResult[] = [];
  const registries: RegistryResult[] = [];
  const [cpu] = cpus();
  const result: Result = {
    machine: `${cpus().length} x ${cpu?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`,
    gateway:
      process.env['APISIX_ADMIN_URL'] === undefined ? 'stand-in gateway' : 'APISIX behind a recording proxy',
    command: `npm run bench -- ${args.join(' ')}`.trim(),
    sizes,
    registries,
  };
  const save = async () => {
    if (options.json === undefined) return;
    await writeFile(options.json, `${JSON.stringify(result, undefined, 2)}\n`);
  };
  if (options.registries !== undefined) {
    for (const type of options.registries.types) {
      const measured = await measureRegistry({ ...options.registries, type, report: progress });
      if (measured !== undefined) registries.push(measured);
      await save();
    }
    process.stdout.write(
      `\n${result.command}\n${result.machine}\n${result.gateway}\n\n${registriesText(registries)}`,
    );
    return verdict(registryFaultsIn(registries));
  }
  for (const size of options.sizes) {
    sizes.push(await measureSize(size, options));
    await save();
  }
  process.stdout.write(`\n${reportText(result)}`);
  return verdict(faultsIn(result));
}

/** Prints the faults. Returns the exit code. */
function verdict(faults: readonly string[]): number {
  for (const fault of faults) process.stdout.write(`FAIL ${fault}\n`);
  return faults.length === 0 ? 0 : 1;
}

async function measureSize(upstreams: number, options: Options): Promise<SizeResult> {
  const { parts, rates, changesAt } = options;
  const measured: { -readonly [K in keyof SizeResult]: SizeResult[K] } = { upstreams };
  if (parts.has('early')) {
    measured.early = await measureFirstSeconds(upstreams, options);
    if (parts.size === 1) return measured;
  }
  progress(`${upstreams} upstreams: control plane, gateway, objects`);
  await using scene = await createScene(upstreams, options, progress);
  const ledger = new Ledger();

  progress('first programming');
  const first = await measureProgramming(scene, ledger);
  let operator: Operator = first.operator;
  if (parts.has('programming')) measured.programming = first.programming;

  if (parts.has('start')) {
    progress('start without changes');
    await operator.stop();
    const second = await measureStart(scene, ledger);
    ({ operator } = second);
    measured.start = second.start;
  }

  if (parts.has('propagation')) {
    await scene.floor.ask('watch');
    const propagation: Propagation[] = [];
    for (const rate of rates) {
      const changes = changesAt(rate);
      progress(`${changes} changes at ${rate} a second`);
      propagation.push(await measurePropagation(scene, operator, ledger, { rate, changes }));
    }
    measured.propagation = propagation;
  }
  measured.memory = await memoryOf(operator);

  if (parts.has('storm')) {
    progress('storm, rolling update');
    measured.storm = await measureStorm(scene, operator, ledger);
    measured.rollout = await measureRollout(scene, operator, ledger);
  }
  if (parts.has('takeover')) {
    progress('failover');
    const third = await measureTakeOver(scene, ledger, operator);
    ({ operator } = third);
    measured.takeover = third.takeover;
  }
  if (parts.has('idle')) {
    progress('idle');
    const last = await measureIdle(scene, operator);
    ({ operator } = last);
    measured.idle = last.idle;
  }
  // A clean stop writes the profile.
  await operator.stop();
  return measured;
}

/** Uses its own scene, in which no upstream has been written yet. */
async function measureFirstSeconds(upstreams: number, options: Options): Promise<Early> {
  progress(`${upstreams} upstreams: control plane, gateway, objects for the first-seconds measurement`);
  await using scene = await createScene(upstreams, options, progress);
  const rate = Math.max(...options.rates);
  progress(`${rate} changes a second from startup`);
  const { operator, early } = await measureEarly(scene, new Ledger(), rate);
  await operator.stop();
  return early;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof FlagError)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}`);
  process.exitCode = 1;
}
