pub mod audit;
pub mod telemetry;
