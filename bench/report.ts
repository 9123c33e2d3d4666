import type { Quantiles } from './measure.ts';
import type { Early, EarlyPhase, Faults, Propagation, Result, SizeResult } from './results.ts';

interface Row {
  readonly what: string;
  readonly measured: string;
  readonly target?: string;
  readonly met?: boolean;
}

/** The maximum number of request kinds on one line. The JSON file has all of them. */
const MOST_KINDS = 5;

/** The results as a table with targets. */
export function reportText({ machine, gateway, command, sizes }: Result): string {
  const rows = [...sizes.flatMap(rowsOf), ...growth(sizes)];
  const cells = [
    ['what', 'measured', 'target', ''],
    ...rows.map(({ what, measured, target = '', met }) => [
      what,
      measured,
      target,
      met === undefined ? '' : met ? 'met' : 'MISSED',
    ]),
  ];
  // A long result does not widen its column if no target follows.
  const widths = [0, 1, 2].map((column) =>
    Math.max(...cells.filter((row) => column === 0 || row[2] !== '').map((row) => row[column]?.length ?? 0)),
  );
  const lines = cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${command}\n${machine}\n${gateway}\n\n${lines.join('\n')}\n`;
}

/** The violations of rules that do not depend on speed, one line each. */
export function faultsIn({ sizes }: Result): readonly string[] {
  return sizes.flatMap(
    ({ upstreams, early, programming, propagation = [], start, storm, rollout, takeover }) => {
      const found = [
        ...(early === undefined ? [] : faultsOf('the first seconds', early)),
        ...(programming === undefined ? [] : faultsOf('first programming', programming)),
        ...propagation.flatMap((measured) => faultsOf(`${measured.rate} changes/s`, measured)),
        ...counted(start?.writes, 'writes at a start without changes'),
        ...counted(storm?.wrong, 'Services with wrong nodes after a storm'),
        ...counted(rollout?.wrong, 'Services with wrong nodes after a rolling update'),
        ...counted(takeover?.needless, 'needless writes at a failover'),
      ];
      return found.map((line) => `${upstreams} upstreams: ${line}`);
    },
  );
}

function faultsOf(where: string, { lost, overlapping, needless, surplus }: Faults): readonly string[] {
  return [
    ...lost.map((change) => `${where}: ${change} never reached the gateway`),
    ...counted(overlapping, `${where}: overlapping writes of one upstream`),
    ...counted(needless, `${where}: needless writes`),
    ...counted(surplus, `${where}: more writes than changes`),
  ];
}

function counted(count: number | undefined, what: string): readonly string[] {
  return count === undefined || count === 0 ? [] : [`${count} ${what}`];
}

function rowsOf(size: SizeResult): readonly Row[] {
  const {
    upstreams,
    early,
    programming,
    start,
    propagation = [],
    memory,
    idle,
    storm,
    rollout,
    takeover,
  } = size;
  const rows: Row[] = early === undefined ? [] : [...earlyRows(early)];
  if (programming !== undefined) {
    const { putsPerSecond, barePutsPerSecond, seconds } = programming;
    const share = putsPerSecond / barePutsPerSecond;
    rows.push(
      {
        what: 'first programming / bare PUTs',
        measured: `${percent(share)}: ${Math.round(putsPerSecond)} of ${Math.round(barePutsPerSecond)} PUTs/s, ${seconds.toFixed(1)} s in total`,
        target: '90 %',
        met: share >= 0.9,
      },
      requests('  API server', programming.apiRequests),
      requests('  gateway', programming.gatewayRequests),
    );
  }
  if (start !== undefined) {
    const ratio = start.seconds / start.bareSeconds;
    rows.push(
      {
        what: 'start without changes / bare list and parse',
        measured: `${ratio.toFixed(2)}: ${start.seconds.toFixed(2)} s of ${start.bareSeconds.toFixed(2)} s, ${start.writes} writes`,
        target: '2, 0 writes',
        met: ratio <= 2 && start.writes === 0,
      },
      requests('  API server', start.apiRequests),
      requests('  gateway', start.gatewayRequests),
    );
  }
  rows.push(...propagation.flatMap((measured) => propagationRows(upstreams, measured)));
  if (memory !== undefined) {
    rows.push({
      what: 'RSS',
      measured: `${Math.round(memory.rssMiB)} MiB, peak ${Math.round(memory.peakRssMiB)} MiB, heap ${Math.round(memory.heapMiB)} MiB`,
      ...(upstreams === 10_000 ? { target: '200 MiB', met: memory.rssMiB <= 200 } : {}),
    });
  }
  if (idle !== undefined) {
    rows.push({
      what: 'idle CPU, with a resync every 10 m',
      measured: `${idle.percent.toFixed(2)} % of a core: ${idle.quietPercent.toFixed(2)} % plus ${idle.resyncCpuSeconds.toFixed(2)} s per resync`,
      ...(upstreams === 10_000 ? { target: '1 %', met: idle.percent <= 1 } : {}),
    });
  }
  if (storm !== undefined) {
    rows.push({
      what: `storm of ${storm.services} Services`,
      measured: `${storm.writes} PUTs, at most ${storm.mostPerService} per Service; correct ${Math.round(storm.lastMs)} ms after the last change, ${Math.round(storm.totalMs)} ms after the first`,
      target: '2 PUTs per Service',
      met: storm.mostPerService <= 2,
    });
  }
  if (rollout !== undefined) {
    rows.push({
      what: `rolling update of ${rollout.endpoints} endpoints`,
      measured: `${rollout.writes} PUTs for ${rollout.changes} changes; correct ${rollout.lastMs.toFixed(1)} ms after the last relevant change`,
    });
  }
  if (takeover !== undefined) {
    rows.push({
      what: 'failover to a standby replica',
      measured: `${Math.round(takeover.afterSigtermMs)} ms after SIGTERM, ${Math.round(takeover.afterSigkillMs)} ms after SIGKILL (the Lease lasts 15 s)`,
    });
  }
  return rows.map((row) => ({
    ...row,
    what: row.what.startsWith(' ') ? row.what : `${upstreams}: ${row.what}`,
  }));
}

/** The target for p99, in multiples of the floor. */
const EARLY_TARGET = 3;

function earlyRows({
  rate,
  programmedSeconds,
  phases: { during, unwritten, after },
  lost,
  needless,
  overlapping,
  apiRequests,
}: Early): readonly Row[] {
  const named: readonly (readonly [string, EarlyPhase | undefined, boolean])[] = [
    [`changes during first programming / floor, ${rate} changes/s`, during, true],
    ['  of upstreams that are not written yet', unwritten, false],
    [`changes after first programming / floor, ${rate} changes/s`, after, true],
  ];
  return [
    ...named.flatMap(([what, phase, hasTarget]) =>
      phase === undefined ? [] : phaseRows(what, phase, hasTarget),
    ),
    {
      what: '  all of these changes',
      measured: `${lost.length} lost, ${needless} needless PUTs, ${overlapping} overlapping; programmed after ${programmedSeconds.toFixed(1)} s`,
    },
    requests('  API server', apiRequests),
  ];
}

function phaseRows(
  what: string,
  { changes, operator, floor }: EarlyPhase,
  hasTarget: boolean,
): readonly Row[] {
  const ratio = operator.p99 / floor.p99;
  return [
    {
      what,
      measured: `p50 ${(operator.p50 / floor.p50).toFixed(2)}, p99 ${ratio.toFixed(2)}`,
      ...(hasTarget ? { target: `p99 ${EARLY_TARGET}`, met: ratio <= EARLY_TARGET } : {}),
    },
    {
      what: `  ${changes} changes: p50 / p90 / p99 / max, ms`,
      measured: `${inMs(operator)}; floor ${inMs(floor)}`,
    },
  ];
}

function inMs({ p50, p90, p99, max }: Quantiles): string {
  return [p50, p90, p99, max].map((ms) => ms.toFixed(1)).join(' / ');
}

/** The targets for p50 and p99, in multiples of the floor. */
function targetOf(upstreams: number, rate: number): readonly [number, number] | undefined {
  if (rate !== 10) return undefined;
  if (upstreams === 1000) return [1.2, 1.5];
  return upstreams === 10_000 ? [1.3, 2] : undefined;
}

function propagationRows(upstreams: number, measured: Propagation): readonly Row[] {
  const { rate, changes, refusedAtFirst, operator, floor, lost, late, writes, overlapping, needless } =
    measured;
  const ratios = [operator.p50 / floor.p50, operator.p99 / floor.p99] as const;
  const target = targetOf(upstreams, rate);
  const isBacklog = lost.length + late.length > 0;
  return [
    {
      what: `propagation / floor, ${rate} changes/s`,
      measured: `p50 ${ratios[0].toFixed(2)}, p99 ${ratios[1].toFixed(2)}`,
      ...(target === undefined
        ? {}
        : {
            target: target.join(', '),
            met: ratios[0] <= target[0] && ratios[1] <= target[1],
          }),
    },
    { what: '  p50 / p90 / p99 / max, ms', measured: `${inMs(operator)}; floor ${inMs(floor)}` },
    {
      what: '  changes',
      measured: `${changes} made, ${lost.length} lost, ${late.length} late, ${writes} PUTs, ${needless} needless, ${overlapping} overlapping`,
      target: 'none lost, late, needless or overlapping',
      met: !isBacklog && overlapping === 0 && needless === 0,
    },
    ...(refusedAtFirst === 0
      ? []
      : [{ what: '  rejected by the API server at first', measured: `${refusedAtFirst}, not timed` }]),
    ...[...lost, ...late].slice(0, 10).map((change) => ({ what: '    lost or late', measured: change })),
    {
      what: '  CPU per change',
      measured: `${measured.operatorCpuMs.toFixed(1)} ms; floor ${measured.floorCpuMs.toFixed(1)} ms`,
      target: '2 ms',
      met: measured.operatorCpuMs <= 2,
    },
    requests('  API server', measured.apiRequests),
    requests('  gateway', measured.gatewayRequests),
  ];
}

function growth(sizes: readonly SizeResult[]): readonly Row[] {
  const p50 = (upstreams: number) =>
    sizes.find((size) => size.upstreams === upstreams)?.propagation?.find(({ rate }) => rate === 10)?.operator
      .p50;
  const [small, large] = [p50(100), p50(10_000)];
  if (small === undefined || large === undefined) return [];
  return [
    {
      what: 'growth of p50 from 100 to 10000 upstreams',
      measured: `${(large / small).toFixed(2)} times`,
      target: 'below 1.3 times',
      met: large / small < 1.3,
    },
  ];
}

function requests(what: string, counts: Readonly<Record<string, number>>): Row {
  const kinds = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const others = kinds.slice(MOST_KINDS).reduce((sum, [, count]) => sum + count, 0);
  const named = kinds.slice(0, MOST_KINDS).map(([kind, count]) => `${count} ${kind}`);
  return {
    what,
    measured: [...named, ...(others === 0 ? [] : [`${others} others`])].join(', ') || 'none',
  };
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
