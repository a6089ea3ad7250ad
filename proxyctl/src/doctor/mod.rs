pub(crate) async fn examine(
    _place: &crate::cli::Place,
    _global: &crate::cli::Global,
    _surroundings: &crate::client::Surroundings,
    _screen: &mut crate::screen::Screen<'_>,
) -> Result<(), crate::failure::Failure> {
    Ok(())
}
