//! Which part may be replaced, and at whose word: data, so that there is one place to read and to change.

use super::PartClass;

/// What it takes to go on as the same robot when a part of a class was exchanged, added or removed.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Tolerance {
    /// Nothing helps: a robot with another such part is another robot, and is enrolled as one.
    AnotherRobot,
    /// One person's approval: the record is taken anew, and the identity keys are bound to the new one.
    OnePerson,
}

/// The tolerance of each class.
///
/// The security module holds the keys; board and system are what it is soldered to. Everything else wears out, is
/// repaired in the field, and is exchanged by one person who answers for it.
pub const fn tolerance(class: PartClass) -> Tolerance {
    match class {
        PartClass::SecurityModule | PartClass::System | PartClass::Mainboard => Tolerance::AnotherRobot,
        PartClass::NetworkInterface
        | PartClass::MotorController
        | PartClass::Sensor
        | PartClass::UsbDevice => Tolerance::OnePerson,
    }
}
