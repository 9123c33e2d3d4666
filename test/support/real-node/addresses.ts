/**
 * Pods are in 198.18.0.0/16 and Services in 198.19.0.0/16: both are reserved for tests (RFC 2544), so no network that a machine may
 * be part of has them. The machine's side of the bridge, which Pods reach:
 */
export const HOST_ADDRESS = '198.18.0.1';
export const POD_SUBNET = '198.18.0.0/24';
export const POD_RANGE_START = '198.18.0.10';
export const CLUSTER_CIDR = '198.18.0.0/16';
export const SERVICE_CIDR = '198.19.0.0/16';
/** Of Service `kubernetes`. */
export const FIRST_SERVICE_ADDRESS = '198.19.0.1';
