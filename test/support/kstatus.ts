/** The fields of an object that kstatus reads. */
export interface KstatusObject {
  readonly metadata: { readonly generation?: number; readonly deletionTimestamp?: string };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

/**
 * The status of a custom resource by the rules of kstatus (sigs.k8s.io/cli-utils/pkg/kstatus/status, `checkGenericProperties`
 * and `checkReadyCondition`), which Flux, Config Sync and kpt use.
 */
export function kstatus({ metadata, status = {} }: KstatusObject): string {
  const is = (type: string) => status.conditions?.find((condition) => condition.type === type)?.status;
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  if (status.observedGeneration !== undefined && status.observedGeneration !== metadata.generation) {
    return 'InProgress';
  }
  if (is('Reconciling') === 'True') return 'InProgress';
  if (is('Stalled') === 'True') return 'Failed';
  const ready = is('Ready');
  return ready === 'False' || ready === 'Unknown' ? 'InProgress' : 'Current';
}
