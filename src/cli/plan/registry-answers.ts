import { backendTargets } from '../../decide/backends.ts';
import { mayFollow } from '../../decide/registries.ts';
import type { Discovered, UnknownAnswer } from '../../model/discovered.ts';
import type { ServiceRegistry } from '../../model/objects.ts';
import type { RegistryServiceRef } from '../../model/reference.ts';
import { systemClock } from '../../runtime/clock.ts';
import { isObject, type JsonObject } from '../../runtime/json.ts';
import type { Logger } from '../../runtime/logger.ts';
import { type RegistryInstruments, ServiceRegistries } from '../../sources/registries.ts';
import type { RegistryType } from '../../sources/registry.ts';
import { knownAnswer, neverListedAnswer } from '../../sources/registry-source/answers.ts';
import type { DiscoverySource } from '../../sources/source.ts';
import { planStore, type Stores } from './kinds.ts';
import { PlanError } from './plan-error.ts';

/** What the registries answered for a plan. */
export interface RegistryAnswers {
  readonly source: DiscoverySource<RegistryServiceRef>;
  /** By ServiceRegistry that a GatewayUpstream uses: its services and their answers. */
  readonly asked: ReadonlyMap<string, readonly RegistryAnswer[]>;
  /** Whether a complete answer for `ref` is missing although the registry was asked for it. */
  readonly isMissing: (ref: RegistryServiceRef) => boolean;
}

interface RegistryAnswer {
  readonly ref: RegistryServiceRef;
  readonly found: Discovered;
}

/** The answers by reference: the same service may be read with several options. */
type Answers = ReadonlyMap<string, RegistryAnswer>;

interface RegistryQuestions {
  readonly types: readonly RegistryType[];
  readonly stores: Stores;
  readonly refs: readonly RegistryServiceRef[];
}

/** The plan contains the problems of registries. */
const SILENT: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => SILENT,
};

const NO_METRICS: RegistryInstruments = {
  registryOpened: () => undefined,
  registryRequested: () => undefined,
  registryFailed: () => undefined,
  registryDeleted: () => undefined,
};

/** The services of registries that the GatewayUpstreams use and may use, each once. */
export function registryReferences(stores: Stores): readonly RegistryServiceRef[] {
  const found = new Map<string, RegistryServiceRef>();
  for (const { spec, namespace, connection: name, deletionTimestamp } of stores.upstreams.list()) {
    if (!spec.ok || deletionTimestamp !== undefined) continue;
    const connection = stores.connections.get('', name);
    for (const target of backendTargets(spec.value, namespace)) {
      if (target.kind !== 'registry') continue;
      if (mayFollow(stores, target.ref, namespace, connection)) found.set(keyOf(target.ref), target.ref);
    }
  }
  return [...found.values()];
}

/** Asks every registry once for its services, with the sources of `run`. Never rejects because of a registry. */
export async function askRegistries(
  { types, stores, refs, operatorNamespace }: RegistryQuestions & { readonly operatorNamespace: string },
  signal: AbortSignal,
): Promise<RegistryAnswers> {
  const { registries, secrets } = stores;
  if (registries === undefined || refs.length === 0) return answersOf([]);
  const used = new Set(refs.map(({ registry }) => registry));
  const source = new ServiceRegistries({
    registries: planStore(
      {},
      [...registries.list()].filter(({ name }) => used.has(name)),
      registries.state,
    ),
    secrets,
    operatorNamespace,
    types,
    instruments: NO_METRICS,
    clock: systemClock,
    random: Math.random,
    log: SILENT,
  });
  const stop = new AbortController();
  const running = source.run(AbortSignal.any([signal, stop.signal]));
  try {
    return answersOf(await Promise.all(refs.map((ref) => firstAnswer(source, ref, signal))));
  } finally {
    stop.abort();
    await running;
  }
}

/** Resolves to the first answer, complete or not, and then ends the subscription, so that the registry is asked once. */
async function firstAnswer(
  source: ServiceRegistries,
  ref: RegistryServiceRef,
  signal: AbortSignal,
): Promise<RegistryAnswer> {
  signal.throwIfAborted();
  using resources = new DisposableStack();
  return await new Promise((resolve, reject) => {
    const settle = () => {
      const found = source.read(ref);
      if (found.state === 'unknown' && found.beginning) return;
      const problem = found.state === 'unknown' ? source.problem(ref) : undefined;
      resources.dispose();
      resolve({ ref, found: found.state === 'unknown' ? withCause(found, problem) : found });
    };
    const stop = () => reject(signal.reason as Error);
    signal.addEventListener('abort', stop);
    resources.defer(() => signal.removeEventListener('abort', stop));
    resources.use(source.subscribe(ref, settle));
    settle();
  });
}

/** Who makes a plan has the credentials of the registry, so the plan names what only the platform team sees otherwise. */
function withCause(found: UnknownAnswer, problem: string | undefined): UnknownAnswer {
  return problem === undefined ? found : { ...found, message: `${found.message}. Cause: ${problem}` };
}

/**
 * Reads answers from `state`: a mapping of ServiceRegistry names to mappings of services to the answers of the registry.
 * Throws `PlanError` if it has another form.
 */
export function parseAnswers(
  { types, stores, refs }: RegistryQuestions,
  state: unknown,
  source: string,
): RegistryAnswers {
  if (!isObject(state)) {
    throw new PlanError(
      `${source} contains no services: expected a mapping of ServiceRegistry names to mappings of services to answers of the registry`,
    );
  }
  const registries = stores.registries;
  const stray = Object.keys(state).find((name) => registries?.get('', name) === undefined);
  if (stray !== undefined) {
    throw new PlanError(
      `${source} contains services of ServiceRegistry ${stray}, which does not exist: correct the name`,
    );
  }
  return answersOf(
    refs.map((ref) => ({
      ref,
      found: savedAnswer(types, registries?.get('', ref.registry), ref, state, source),
    })),
  );
}

function savedAnswer(
  types: readonly RegistryType[],
  registry: ServiceRegistry | undefined,
  { registry: name, service, options }: RegistryServiceRef,
  state: JsonObject,
  source: string,
): Discovered {
  const spec = registry?.spec.ok === true ? registry.spec.value : undefined;
  const registryType = types.find((one) => one.type === spec?.type);
  if (spec === undefined || registryType === undefined) throw new Error(`no registry type ${spec?.type}`);
  const own = options[registryType.section];
  const saved = registryType.saved.serviceName({ service, options: own });
  const services = state[name];
  if (services !== undefined && !isObject(services)) {
    throw new PlanError(`${source}, ServiceRegistry ${name}: expected a mapping of services to answers`);
  }
  const answer = services?.[saved];
  if (answer === undefined) {
    return {
      state: 'unknown',
      beginning: false,
      message: `${source} contains no answer of ServiceRegistry ${name} for service ${saved}: add it, or an empty one if the service has no instances`,
    };
  }
  const section = (spec as Readonly<Record<string, unknown>>)[registryType.section];
  const instances = registryType.saved.read(answer, { service, section });
  if (instances === undefined) {
    throw new PlanError(
      `${source}, ServiceRegistry ${name}, service ${saved}: expected ${registryType.saved.expected}`,
    );
  }
  const answered = { type: registryType.type, registry: name, service, options: own };
  return instances.count === 0
    ? neverListedAnswer(answered)
    : knownAnswer(answered, instances.endpoints(own));
}

function answersOf(answers: readonly RegistryAnswer[]): RegistryAnswers {
  const byRef = new Map(answers.map((answer) => [keyOf(answer.ref), answer]));
  return {
    source: new AnswersSource(byRef),
    asked: Map.groupBy(answers, ({ ref }) => ref.registry),
    isMissing: (ref) => byRef.get(keyOf(ref))?.found.state === 'unknown',
  };
}

/** Answers that do not change. */
class AnswersSource implements DiscoverySource<RegistryServiceRef> {
  readonly type = 'Registry';
  readonly #answers: Answers;

  constructor(answers: Answers) {
    this.#answers = answers;
  }

  async run(): Promise<void> {}

  subscribe(): Disposable {
    return { [Symbol.dispose]: () => undefined };
  }

  read(ref: RegistryServiceRef): Discovered {
    return (
      this.#answers.get(keyOf(ref))?.found ?? {
        state: 'unknown',
        beginning: false,
        message: `ServiceRegistry ${ref.registry} was not asked for service ${ref.service}`,
      }
    );
  }

  departure(): 'unknown' {
    return 'unknown';
  }

  listedElsewhere(refs: readonly RegistryServiceRef[], addresses: ReadonlySet<string>): ReadonlySet<string> {
    const own = new Set(refs.map(serviceOf));
    const others = [...this.#answers.values()].filter(({ ref }) => !own.has(serviceOf(ref)));
    const listed = others.flatMap(({ found }) => (found.state === 'known' ? found.endpoints : []));
    return new Set(listed.map(({ address }) => address).filter((address) => addresses.has(address)));
  }
}

function serviceOf({ registry, service }: RegistryServiceRef): string {
  return JSON.stringify([registry, service]);
}

function keyOf({ registry, service, options }: RegistryServiceRef): string {
  return JSON.stringify([registry, service, options]);
}
