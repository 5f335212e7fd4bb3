//! The robot's stops and its purge, and the receipts of them.

use super::*;
use alcub3_trust_model::StopCause;

impl Robot {
    /// The receipt of a purge by an order after the stop of `stop_receipt`, as the chip signs it at its clock of now.
    pub fn purge_receipt(&self, order: &[u8], stop_receipt: &[u8]) -> Vec<u8> {
        let lockdown = PcrMap::DEFAULT.lockdown();
        let statement = PurgeStatement {
            robot: self.id.clone(),
            order: self.alg().digest(&[order]),
            stop_receipt: self.alg().digest(&[stop_receipt]),
            purged_utc_ms: NOW,
            pcr: Digest::zero(BANK),
        };
        let extra = statement.qualifying_data(self.alg());
        let selection = PcrSelection::of(BANK, &[lockdown]).unwrap();
        let quoted = PcrValues::new(selection, vec![statement.pcr]).unwrap();
        let attested = [selection.encode(), sized(quoted.digest(self.alg()).as_bytes())].concat();
        PurgeReceipt {
            quote: self.sign(self.attest(0x8018, extra.as_bytes(), &attested)),
            statement,
            stop_receipt: stop_receipt.to_vec(),
        }
        .to_canonical()
    }

    /// Stops the robot and gives the receipt of it.
    pub fn stop(&mut self, stop: StopId) -> Vec<u8> {
        let lockdown = PcrMap::DEFAULT.lockdown();
        let before = *self.pcrs().value(BANK, lockdown).unwrap();
        let epoch = self
            .counters
            .get(&NvIndex::RobotEpoch.handle())
            .copied()
            .unwrap_or(1);
        let epoch_before =
            self.certify_counter(NvIndex::RobotEpoch, &epoch_before_data(self.alg(), &self.boot()));
        self.stops.push(stop);
        self.stopped = true;
        self.set_counter(NvIndex::RobotEpoch, epoch + 1);
        self.clock.clock_ms += 10;
        let last = self.stops.len() - 1;
        let AgentEvent::Stop(event) = self.events().swap_remove(last) else {
            panic!("the test reached what it must not")
        };
        self.receipt(event, before, (lockdown, NvIndex::RobotEpoch), epoch_before)
    }

    /// The receipt of a mission's stop that counts an anchor from one value to another.
    pub fn stop_mission(
        &mut self,
        mission: MissionId,
        anchor: MissionAnchor,
        (from, to): (u64, u64),
    ) -> Vec<u8> {
        let index = NvIndex::MissionAnchor(anchor);
        self.set_counter(index, from);
        let epoch_before = self.certify_counter(index, &epoch_before_data(self.alg(), &self.boot()));
        self.set_counter(index, to);
        self.clock.clock_ms += 10;
        let event = StopEvent {
            stop: StopId::new([7; 16]),
            robot: self.id.clone(),
            scope: StopScope::Mission(mission, anchor),
            cause: StopCause::ManualTrigger,
            called_utc_ms: 0,
        };
        let retire = PcrMap::DEFAULT.retire();
        self.receipt(event, Digest::zero(BANK), (retire, index), epoch_before)
    }

    fn receipt(
        &self,
        event: StopEvent,
        before: Digest,
        (pcr, counter): (u8, NvIndex),
        epoch_before: Signed,
    ) -> Vec<u8> {
        let step = |step| StepTime {
            step,
            began_ns: 1,
            ended_ns: 2,
            confirmed: true,
        };
        let digest = AgentEvent::Stop(event.clone()).digest(BANK);
        let statement = Statement {
            event,
            boot: self.boot(),
            pcr_before: before,
            pcr_after: before.extend(digest.as_bytes()),
            extends: 1,
            steps: Step::ALL.map(step).to_vec(),
        };
        let extra = statement.qualifying_data(self.alg());
        let selection = PcrSelection::of(BANK, &[pcr]).unwrap();
        let quoted = PcrValues::new(selection, vec![statement.pcr_after]).unwrap();
        let attested = [selection.encode(), sized(quoted.digest(self.alg()).as_bytes())].concat();
        Receipt {
            attestation_key: self.ak_key.verifying_key().to_spki_der(),
            quote: Some(self.sign(self.attest(0x8018, extra.as_bytes(), &attested))),
            epoch_after: Some(self.certify_counter(counter, &extra)),
            epoch_before: Some(epoch_before),
            statement,
        }
        .to_canonical()
    }
}
