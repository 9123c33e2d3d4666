import type { Reason } from './reasons.ts';

/** One condition type. docs/status.md is generated from it. */
export interface ConditionFacts {
  /** What status True means. */
  readonly meaning: string;
  /** Its own reasons, by status. */
  readonly reasons: Readonly<Partial<Record<'True' | 'False' | 'Unknown', readonly Reason[]>>>;
  /** It copies status and reason of the first of these conditions that is not True. */
  readonly follows?: readonly string[];
}

/** Problems that a retry cannot solve. kstatus calls them Stalled. */
export const STALLED: ReadonlySet<Reason> = new Set<Reason>([
  'InvalidSpec',
  'ConnectionNotFound',
  'NamespaceNotAllowed',
  'IdNotAllowed',
  'IdTaken',
  'StaticAddressesDenied',
  'AddressNotAllowed',
  'OverridesDenied',
  'ProbePortDenied',
  'UnsupportedField',
  'AdoptionDenied',
  'RefNotPermitted',
  'RegistryNotAllowed',
  'RegistryServiceNotAllowed',
  'RegistryTypeMismatch',
  'TooManyServices',
  'TooManyInstances',
  'NotOwned',
  'UsesDiscovery',
  'Observed',
  'Rejected',
  'NameTaken',
  'MemberRefused',
  'OperatorUninstalled',
]);

/** The conditions of kstatus, which every kind has. */
const PROGRESS = {
  Reconciling: {
    meaning: 'The operator is still working on the object and retries by itself. Present only while true.',
    reasons: {},
    follows: ['Ready'],
  },
  Stalled: {
    meaning: 'The operator cannot continue until an object is changed. Present only while true.',
    reasons: {},
    follows: ['Ready'],
  },
} as const satisfies Record<string, ConditionFacts>;

/** The condition types of every kind, in the order in which they appear in an object. */
export const CONDITIONS = {
  GatewayUpstream: {
    Ready: {
      meaning:
        '`Accepted`, `ResolvedRefs` and `Programmed` are all True. With reason `NoReadyEndpoints` or `NoWeight` the gateway has no node that receives traffic. This is still True, so that a workload scaled to zero does not break a delivery pipeline.',
      reasons: {
        True: ['Ready', 'NoReadyEndpoints', 'NoWeight'],
        False: ['PermissionMissing'],
        Unknown: ['Pending', 'OperatorUninstalled'],
      },
      follows: ['Accepted', 'ResolvedRefs', 'Programmed'],
    },
    Accepted: {
      meaning:
        'The spec is valid, the GatewayConnection allows it, and the gateway version supports every field. An outage does not change this condition.',
      reasons: {
        True: ['Accepted'],
        False: [
          'InvalidSpec',
          'ConnectionNotFound',
          'NamespaceNotAllowed',
          'IdNotAllowed',
          'IdTaken',
          'StaticAddressesDenied',
          'AddressNotAllowed',
          'OverridesDenied',
          'ProbePortDenied',
          'UnsupportedField',
          'AdoptionDenied',
        ],
        Unknown: ['Pending', 'PermissionMissing'],
      },
    },
    ResolvedRefs: {
      meaning: 'All references of the backends are resolved, and the client certificate exists.',
      reasons: {
        True: ['ResolvedRefs'],
        False: [
          'ServiceNotFound',
          'PortNotFound',
          'UnsupportedProtocol',
          'NodePortMissing',
          'NoClusterIP',
          'NoLoadBalancerAddress',
          'RefNotPermitted',
          'RegistryNotAllowed',
          'RegistryServiceNotAllowed',
          'ServiceUnknownToRegistry',
          'SecretNotFound',
          'StaticAddressesDenied',
          'AddressNotAllowed',
        ],
        Unknown: [
          'RegistryNotFound',
          'RegistryTypeMismatch',
          'TooManyServices',
          'TooManyInstances',
          'SourceUnavailable',
          'Pending',
          'PermissionMissing',
          'OperatorUninstalled',
        ],
      },
    },
    Programmed: {
      meaning: 'The gateway confirmed this configuration.',
      reasons: {
        True: ['Programmed'],
        False: [
          'Unauthorized',
          'Rejected',
          'NotOwned',
          'UpstreamNotFound',
          'UsesDiscovery',
          'FinalizerRefused',
          'InUse',
          'Observed',
          'Pending',
        ],
        Unknown: ['GatewayUnavailable', 'Pending', 'PermissionMissing', 'OperatorUninstalled'],
      },
    },
    RemovalHeld: {
      meaning:
        '[The removal guard](concepts.md#removal-guard) keeps nodes in the gateway whose endpoints were lost without a known cause. Present only while true.',
      reasons: { True: ['RemovalHeld'] },
    },
    ...PROGRESS,
  },
  GatewayConnection: {
    Ready: {
      meaning:
        '`Reachable` and `Authorized` are both True, and nothing else prevents the use of the gateway.',
      reasons: {
        True: ['Ready'],
        False: [
          'PermissionMissing',
          'InUse',
          'FinalizerRefused',
          'InvalidSpec',
          'SecretNotFound',
          'ListTooLarge',
        ],
        Unknown: ['Pending', 'OperatorUninstalled'],
      },
      follows: ['Reachable', 'Authorized'],
    },
    Reachable: {
      meaning: 'The gateway answers.',
      reasons: {
        True: ['Reachable'],
        False: ['GatewayUnavailable'],
        Unknown: ['InvalidSpec', 'SecretNotFound', 'Pending', 'OperatorUninstalled'],
      },
    },
    Authorized: {
      meaning: 'The gateway accepts the admin key for reads and writes.',
      reasons: {
        True: ['Authorized'],
        False: ['Unauthorized'],
        Unknown: ['GatewayUnavailable', 'InvalidSpec', 'SecretNotFound', 'Pending', 'OperatorUninstalled'],
      },
    },
    ...PROGRESS,
  },
  GatewayUpstreamSet: {
    Ready: {
      meaning:
        'Every selected port of every selected Service has a GatewayUpstream that matches the template. The conditions of each GatewayUpstream show whether it is ready.',
      reasons: {
        True: ['Ready'],
        False: ['PermissionMissing', 'InvalidSpec', 'NameTaken', 'MemberRefused'],
        Unknown: ['Pending', 'OperatorUninstalled'],
      },
    },
    PruningHeld: {
      meaning:
        '[More GatewayUpstreams than allowed](sets.md#pruning) would be deleted at once, and the deletion is not accepted yet. Present only while true.',
      reasons: { True: ['PruningHeld'] },
    },
    ...PROGRESS,
  },
  ServiceRegistry: {
    Ready: {
      meaning: '`Reachable` and `Authorized` are both True, and the spec is valid.',
      reasons: {
        True: ['Ready'],
        False: ['PermissionMissing', 'InvalidSpec', 'SecretNotFound'],
        Unknown: ['Pending', 'OperatorUninstalled'],
      },
      follows: ['Reachable', 'Authorized'],
    },
    Reachable: {
      meaning:
        'A server of the registry answers. If services are followed, at least one of them can be read; otherwise the operator asks every 30 seconds.',
      reasons: {
        True: ['Reachable'],
        False: ['RegistryUnavailable'],
        Unknown: ['InvalidSpec', 'SecretNotFound', 'Pending', 'OperatorUninstalled'],
      },
    },
    Authorized: {
      meaning:
        'The registry accepts the credentials. If services are followed, the credentials permit reading at least one of them.',
      reasons: {
        True: ['Authorized'],
        False: ['Unauthorized'],
        Unknown: ['RegistryUnavailable', 'InvalidSpec', 'SecretNotFound', 'Pending', 'OperatorUninstalled'],
      },
    },
    ...PROGRESS,
  },
} as const satisfies Record<string, Record<string, ConditionFacts>>;

/** Reasons that appear only in metrics. */
export const METRIC_REASONS: readonly Reason[] = ['InternalError'];

/** Reasons that appear only in Events. */
export const EVENT_REASONS: readonly Reason[] = ['Repaired', 'Adopted', 'Orphaned', 'Deleted'];
