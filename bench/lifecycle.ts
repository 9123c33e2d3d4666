import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { monotonicMs } from '../test/support/monotonic.ts';
import type { Operator } from '../test/support/operator.ts';
import type { Ledger } from './ledger.ts';
import { cpuSeconds, residentMiB } from './measure.ts';
import type { Idle, Memory, Programming, Start, TakeOver } from './results.ts';
import { CONCURRENCY, type Scene, type Subject, working } from './scene.ts';

const BARE_LIST = fileURLToPath(new URL('bare-list-process.ts', import.meta.url));
/** The number of bare PUTs before and after the operator's. */
const BARE_PUTS = 1000;

/** Starts the operator with an empty gateway. */
export async function measureProgramming(
  scene: Scene,
  ledger: Ledger,
): Promise<{ readonly operator: Operator; readonly programming: Programming }> {
  const { subjects, floor, gateway } = scene;
  const bare = { count: BARE_PUTS, concurrency: CONCURRENCY };
  const before = await floor.ask('puts', bare);
  await gateway.ask('take');
  const began = monotonicMs();
  const operator = await scene.operator();
  const records = await scene.requestsUntil(
    (writes) => writes >= subjects.length,
    60_000 + subjects.length * 50,
  );
  await scene.settled(operator);
  const { writes, requests, needless, overlapping } = ledger.enter([
    ...records,
    ...(await gateway.ask('take')),
  ]);
  const after = await floor.ask('puts', bare);
  const [first, last] = [writes[0]?.at ?? Number.NaN, writes.at(-1)?.at ?? Number.NaN];
  const written = new Set(writes.map(({ id }) => id));
  return {
    operator,
    programming: {
      putsPerSecond: (writes.length - 1) / ((last - first) / 1000),
      barePutsPerSecond: (before + after) / 2,
      seconds: (last - began) / 1000,
      lost: subjects.filter(({ id }) => !written.has(id)).map(({ id }) => id),
      surplus: Math.max(0, writes.length - subjects.length),
      needless,
      overlapping,
      apiRequests: await scene.apiRequests.take(),
      gatewayRequests: requests,
    },
  };
}

/**
 * Starts the operator with a gateway that is up to date, except for the upstream that is reconciled last. Its write shows
 * that all others were reconciled.
 */
export async function measureStart(
  scene: Scene,
  ledger: Ledger,
): Promise<{ readonly operator: Operator; readonly start: Start }> {
  const { subjects, gateway } = scene;
  const bareSeconds = await bareList(scene);
  const last = subjects.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)).at(-1);
  const body = JSON.parse(ledger.body(last?.id ?? '') ?? '{}') as object;
  if (last === undefined) throw new Error('the scene has no upstream');
  await scene.askGateway('PUT', last.id, { ...body, nodes: [] });
  ledger.enter(await gateway.ask('take'));
  await scene.apiRequests.take();
  const began = monotonicMs();
  const operator = await scene.operator();
  const records = await scene.requestsUntil((writes) => writes >= 1, 120_000);
  await scene.settled(operator);
  const { writes, requests } = ledger.enter([...records, ...(await gateway.ask('take'))]);
  const sign = writes.find(({ id }) => id === last.id);
  if (sign === undefined) throw new Error(`the operator never repaired ${last.id}`);
  return {
    operator,
    start: {
      seconds: (sign.at - began) / 1000,
      bareSeconds: (bareSeconds + (await bareList(scene))) / 2,
      writes: writes.length - 1,
      apiRequests: await scene.apiRequests.take(),
      gatewayRequests: requests,
    },
  };
}

function keyOf({ namespace, service }: Subject): string {
  return `${namespace}/${service}`;
}

async function bareList({ floorTarget }: Scene): Promise<number> {
  const began = performance.now();
  const child = spawn(process.execPath, [BARE_LIST], { stdio: ['pipe', 'inherit', 'inherit'] });
  child.stdin.end(JSON.stringify(floorTarget));
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`the bare list exited with ${code}`);
  return (performance.now() - began) / 1000;
}

export async function memoryOf(operator: Operator): Promise<Memory> {
  const { now, peak } = residentMiB(operator.process.pid ?? 0);
  const { text: metrics } = await operator.ask('/metrics');
  const heap = /^nodejs_heap_size_used_bytes (\S+)/m.exec(metrics)?.[1];
  return { rssMiB: now, peakRssMiB: peak, heapMiB: Number(heap) / 2 ** 20 };
}

/** A minute after startup, a leader lists the gateway to verify its writes. That is not idle time. */
const READ_BACK_SECONDS = 65;
const QUIET_SECONDS = 15;
const RESYNC_SECONDS = 10;
const RESYNCS = 3;

/** Measures the idle CPU. `operator` has the default resync interval, which is longer than the measurement. */
export async function measureIdle(
  scene: Scene,
  operator: Operator,
): Promise<{ readonly operator: Operator; readonly idle: Idle }> {
  await sleep(READ_BACK_SECONDS * 1000);
  await scene.settled(operator);
  const quiet = (await cpuOver(operator, QUIET_SECONDS)) / QUIET_SECONDS;
  await operator.stop();
  const busy = await scene.operator({ resyncInterval: `${RESYNC_SECONDS}s` });
  await working(busy);
  await scene.settled(busy);
  await scene.gateway.ask('take');
  const seconds = RESYNC_SECONDS * (RESYNCS + 0.5);
  const cpu = await cpuOver(busy, seconds);
  const lists = (await scene.gateway.ask('take')).filter(
    ({ method, path }) => method === 'GET' && path === '/apisix/admin/upstreams',
  ).length;
  const resyncCpuSeconds = Math.max(0, cpu - quiet * seconds) / lists;
  return {
    operator: busy,
    idle: {
      quietPercent: quiet * 100,
      resyncCpuSeconds,
      percent: (quiet + resyncCpuSeconds / 600) * 100,
    },
  };
}

async function cpuOver({ process: { pid = 0 } }: Operator, seconds: number): Promise<number> {
  const before = cpuSeconds(pid);
  await sleep(seconds * 1000);
  return cpuSeconds(pid) - before;
}

/** Stops the leader with SIGTERM and then with SIGKILL, each time with a standby replica and a simultaneous change. */
export async function measureTakeOver(
  scene: Scene,
  ledger: Ledger,
  first: Operator,
): Promise<{ readonly operator: Operator; readonly takeover: TakeOver }> {
  const second = await scene.operator();
  await second.ready();
  await scene.settled(second);
  ledger.enter(await scene.gateway.ask('take'));
  const sigterm = await takeOver(scene, ledger, () => first.stop());
  const third = await scene.operator();
  await third.ready();
  await scene.settled(third);
  const sigkill = await takeOver(scene, ledger, () => second.kill());
  return {
    operator: third,
    takeover: {
      afterSigtermMs: sigterm.ms,
      afterSigkillMs: sigkill.ms,
      needless: sigterm.needless + sigkill.needless,
    },
  };
}

async function takeOver(
  scene: Scene,
  ledger: Ledger,
  end: () => Promise<unknown>,
): Promise<{ readonly ms: number; readonly needless: number }> {
  const subject = scene.subjects[0];
  if (subject === undefined) throw new Error('the scene has no upstream');
  ledger.enter(await scene.gateway.ask('take'));
  const began = monotonicMs();
  await end();
  const address = scene.freshAddress();
  subject.addresses[0] = address;
  await scene.writeAddresses(subject);
  const { writes, needless } = ledger.enter(await scene.requestsUntil((count) => count >= 1, 60_000));
  const at = writes.find(({ id, hosts }) => id === subject.id && hosts.has(address))?.at;
  if (at === undefined) throw new Error('the standby replica did not become the leader within a minute');
  return { ms: at - began, needless };
}
