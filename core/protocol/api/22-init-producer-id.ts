/**
 * 22 InitProducerId, versions 0-6, flexible from 2. Version 6 (two-phase commit, KIP-939) is unstable: not served.
 *
 *   request  => transactional_id transaction_timeout_ms producer_id(3+) producer_epoch(3+) enable_2_pc(6)
 *               keep_prepared_txn(6)
 *   response => throttle_time_ms error_code producer_id producer_epoch ongoing_txn_producer_id(6)
 *               ongoing_txn_producer_epoch(6)
 *
 * producer_id and producer_epoch other than -1 ask for the next epoch of that producer (KIP-360).
 */
import { api, bool, int16, int32, int64, string } from "../schema.ts"

export const InitProducerId = api({
  key: 22,
  name: "InitProducerId",
  versions: "0-6",
  flexible: "2+",
  latestVersionUnstable: true,
  request: {
    transactionalId: string({ nullable: true, entity: "transactionalId" }),
    transactionTimeoutMs: int32(),
    producerId: int64("3+", { default: -1, entity: "producerId" }),
    producerEpoch: int16("3+", { default: -1 }),
    enable2Pc: bool("6+", { default: false }),
    keepPreparedTxn: bool("6+", { default: false })
  },
  response: {
    throttleTimeMs: int32({ ignorable: true }),
    errorCode: int16(),
    producerId: int64({ default: -1, entity: "producerId" }),
    producerEpoch: int16(),
    ongoingTxnProducerId: int64("6+", { default: -1, entity: "producerId" }),
    ongoingTxnProducerEpoch: int16("6+", { default: -1 })
  }
})
